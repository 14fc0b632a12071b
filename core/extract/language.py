"""Which language a column is in: by its script first, Latin letters by n-grams where there is enough of them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from functools import cache
from itertools import islice

_SCRIPTS = {
    "HIRAGANA": "ja",
    "KATAKANA": "ja",
    "HANGUL": "ko",
    "CJK": "zh",
    "THAI": "th",
    "GREEK": "el",
    "HEBREW": "he",
    "DEVANAGARI": "hi",
    "BENGALI": "bn",
    "TAMIL": "ta",
    "TELUGU": "te",
    "GEORGIAN": "ka",
    "ARMENIAN": "hy",
}
_GROUPS = {
    "LATIN": (
        "en",
        "de",
        "fr",
        "es",
        "it",
        "pt",
        "nl",
        "pl",
        "cs",
        "sv",
        "da",
        "no",
        "fi",
        "tr",
        "vi",
        "id",
        "ro",
        "hu",
    ),
    "CYRILLIC": ("ru", "uk", "bg", "sr", "kk"),
    "ARABIC": ("ar", "fa", "ur"),
}
_ENOUGH = 40  # letters; a name or two tells no language
_SURE = 0.6


def language_of(texts: Iterable[str]) -> str | None:
    """ISO 639-1 code of the language that most of the first 200 texts' letters are in; None where unclear."""
    sample = [text[:2000] for text in islice(texts, 200)]
    scripts = Counter(script for text in sample for char in text if (script := _script(char)))
    if not scripts:
        return None
    # one kana among many Han characters is a quotation; a tenth of them is Japanese
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana and kana >= 0.1 * (kana + scripts["CJK"]) and kana + scripts["CJK"] >= 0.3 * scripts.total():
        return "ja"
    # an ideograph says as much as three or four letters, so that some Latin names don't turn a Chinese column
    weights = Counter({script: count * (3 if script in ("CJK", "HANGUL") else 1) for script, count in scripts.items()})
    script, _ = weights.most_common(1)[0]
    if script in _SCRIPTS:
        return _SCRIPTS[script]
    letters = scripts[script]
    return _by_ngrams(" ".join(sample), script) if script in _GROUPS and letters >= _ENOUGH else None


@cache
def _script(char: str) -> str:
    """The first word of a letter's Unicode name: LATIN, CJK, HANGUL …; "" for what is no letter."""
    if not char.isalpha():
        return ""
    name = unicodedata.name(char, "").split(" ")[0]
    return "LATIN" if name in ("FULLWIDTH", "MODIFIER") else name.removesuffix("-KATAKANA")


@cache
def _identifier(script: str):
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(list(_GROUPS[script]))
    return identifier


def _by_ngrams(text: str, script: str) -> str | None:
    try:
        identifier = _identifier(script)
    except OSError:  # it unpacks its model into the temporary folder, which may be full
        return None
    language, sure = identifier.classify(text[:20_000])
    return str(language) if sure >= _SURE else None
