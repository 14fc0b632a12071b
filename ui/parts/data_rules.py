"""Rules of cleaning in words: what each is called, and why it leaves texts out."""

from __future__ import annotations

from core.launchers import corpus
from ui.i18n import language, t

OUTCOMES = ("packed", "filtered", "duplicates", "unreadable")


def outcome_name(outcome: str) -> str:
    return {
        "packed": t("packed"),
        "filtered": t("left out"),
        "duplicates": t("copy"),
        "unreadable": t("unreadable"),
    }.get(outcome, outcome)


def rule_name(rule: str) -> str:
    """Its name in words; `harmful:gambling` by its kind, one of a person's own lists as they called it."""
    kind = rule.partition(":")[2]
    if kind:
        return {
            "gambling": t("advertising: gambling"),
            "sex": t("advertising: sex"),
            "drugs": t("advertising: drugs"),
            "fraud": t("advertising: fraud"),
        }.get(kind, kind)
    return {
        "broken_characters": t("lost characters"),
        "too_short": t("too short"),
        "few_letters": t("few letters"),
        "many_digits": t("many digits"),
        "many_links": t("many links"),
        "repetition": t("repetition"),
        "repeated_lines": t("repeated lines"),
        "no_sentences": t("no sentences"),
        "other_language": t("another language"),
        "few_common_words": t("few common words"),
        "odd_words": t("odd word length"),
        "few_function_words": t("few function words"),
        "no_punctuation": t("no punctuation"),
        "spaced_out": t("spaces between characters"),
        "empty": t("empty"),
        "not_json": t("not JSON"),
        "missing_field": t("missing field"),
        "too_long": t("too long a line"),
        "cut_off": t("cut off"),
        "exact": t("exact copy"),
        "near": t("near copy"),
    }.get(rule, rule)


def why(rule: str) -> str:
    """Why it leaves texts out: from the file with its limits, or what reading and comparing say."""
    told = corpus.explained().get(rule.partition(":")[0])
    if told is not None:
        return told[language()]
    return {
        "empty": t("The line or its text is empty."),
        "not_json": t("The line can't be read as a JSON object."),
        "missing_field": t("The row has not the field that the source's text names, or no text in it."),
        "too_long": t("The line is longer than is allowed; it was counted and passed over."),
        "cut_off": t("The file breaks off in this document."),
        "exact": t("An earlier document is equal letter for letter."),
        "near": t("An earlier document is nearly equal: the number is the estimated share of common sequences."),
    }.get(rule, "")
