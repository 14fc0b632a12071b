"""Generated texts whose words are distributed as in real ones, for the corpus benchmarks.

Sentences are drawn from ../shared/data; their rare words are replaced by made-up ones of a Zipf distribution without
an end, so that new words keep coming at about the rate they do in natural text (Heaps' law): with fewer of them,
whoever remembers words would be measured too well. `python -m benchmarks.corpus_texts --mb 50` tells the rates.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from core.paths import PROJECT

SHARED = PROJECT.parent / "shared" / "data"
RARE = 2  # a word seen so often or less in the sources is replaced
ONSETS = [
    "b",
    "br",
    "c",
    "ch",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "st",
    "t",
    "v",
    "w",
]
CORES = ["a", "e", "i", "o", "u", "ai", "ea", "io", "ou"]
CODAS = ["", "", "n", "r", "s", "l", "nd", "rt", "m", "ck"]
WORD = re.compile(r"[A-Za-z]+")
HAN = re.compile(r"[\u4e00-\u9fff]{2,}")
CLAUSE = re.compile(r"[^，。！？；：\s]+[，。！？；：]")


def documents(language: str, size: int, seed: int = 0) -> Iterator[str]:
    """Documents of together about `size` bytes; their lengths are spread as those of web pages are."""
    chance = random.Random(seed)
    sentences = _english(chance) if language == "en" else _chinese(chance)
    joint = " " if language == "en" else ""
    made = 0
    while made < size:
        paragraphs = []
        for _ in range(max(1, round(chance.lognormvariate(1.0, 0.9)))):
            paragraphs.append(
                joint.join(next(sentences) for _ in range(max(1, round(chance.lognormvariate(1.3, 0.6)))))
            )
        text = "\n".join(paragraphs)
        made += len(text.encode())
        yield text


@cache
def _english_sources() -> tuple[list[list[str]], frozenset[str]]:
    """Sentences in parts (words and what is between them), and the words to be replaced."""
    texts = []
    for name in ("fewrel_wiki.jsonl", "semeval2010_task8.jsonl"):
        for line in (SHARED / "re" / name).read_text(encoding="utf-8").splitlines():
            texts.append(json.loads(line)["text"])
    counts = Counter(word for text in texts for word in WORD.findall(text))
    rare = frozenset(word for word, count in counts.items() if count <= RARE and len(word) > 3)
    return [re.split(r"([A-Za-z]+)", text) for text in texts], rare


def _english(chance: random.Random) -> Iterator[str]:
    sentences, rare = _english_sources()
    while True:
        parts = [_made_up(chance, part) if part in rare else part for part in chance.choice(sentences)]
        yield "".join(parts)


def _made_up(chance: random.Random, like: str) -> str:
    """A word of rank r with a chance of about 1/r, up to rank 3 million."""
    rank = int(3_000_000 ** chance.random())
    own = random.Random(rank)
    word = "".join(own.choice(ONSETS) + own.choice(CORES) + own.choice(CODAS) for _ in range(own.choice((1, 2, 2, 3))))
    return word.capitalize() if like[0].isupper() else word


@cache
def _chinese_sources() -> tuple[list[str], list[str]]:
    """Clauses, and characters from frequent to rare."""
    clauses: list[str] = []
    for path in sorted((SHARED / "iepile").glob("*.train.json")):
        for line in path.read_text(encoding="utf-8").splitlines():
            text = json.loads(json.loads(line)["instruction"])["input"]
            if HAN.search(text):
                clauses += CLAUSE.findall(text)
    seen = [
        one
        for one, _ in Counter(one for clause in clauses for one in clause if "\u4e00" <= one <= "\u9fff").most_common()
    ]
    others = [one for row in range(0xB0, 0xF8) for cell in range(0xA1, 0xFF) if (one := _gb(row, cell))]
    return clauses, [*seen, *(one for one in others if one not in set(seen))]


def _gb(row: int, cell: int) -> str:
    try:
        return bytes((row, cell)).decode("gb2312")
    except UnicodeDecodeError:
        return ""


def _chinese(chance: random.Random) -> Iterator[str]:
    """Clauses, in which a fifth of the characters is another one, of a Zipf distribution over GB2312."""
    clauses, signs = _chinese_sources()
    while True:
        made = ""
        for _ in range(chance.choice((1, 2, 2, 3, 4))):
            clause = chance.choice(clauses)
            made += "".join(
                signs[int(len(signs) ** chance.random()) - 1] if one >= "\u4e00" and chance.random() < 0.2 else one
                for one in clause[:-1]
            )
            made += "，"
        yield made[:-1] + chance.choice("。。。。！？；")


def rates(texts: list[str]) -> dict[str, float]:
    """How many words there are, how many different ones, and the share of new ones in the last tenth."""
    words = [word for text in texts for word in text.split()]
    before = set(words[: len(words) * 9 // 10])
    last = words[len(words) * 9 // 10 :]
    return {
        "words": len(words),
        "different": len(before | set(last)),
        "new_in_last_tenth": round(sum(word not in before for word in last) / max(1, len(last)), 4),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--mb", type=float, default=5)
    options.add_argument("--out", type=Path, default=None, help="write the documents here, one a JSON line")
    chosen = options.parse_args()
    found = {}
    for language in ("en", "zh"):
        texts = list(documents(language, int(chosen.mb * 1e6)))
        found[language] = {"documents": len(texts), **rates(texts)}
        if chosen.out:
            lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
            chosen.out.with_suffix(f".{language}.jsonl").write_text(lines, encoding="utf-8")
    print(json.dumps({"benchmark": "corpus texts", "mb": chosen.mb, **found}))


if __name__ == "__main__":
    main()
