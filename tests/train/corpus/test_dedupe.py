"""Copies: exact ones, near ones by MinHash, across parts, whatever the order in which they are looked for."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from train.corpus import dedupe, minhash, parts
from train.corpus.parts import Kept, Part

WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("ala", "eto", "ino", "uru", "ape", "osi", "ume")]
SIGNS = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说"


PINNED = [2736816726, 302046329, 834503948]


def similarity(one: str, other: str, *, chinese: bool) -> float:
    def grams(text: str) -> set:
        pieces = list(text) if chinese else text.split()
        size = minhash.CHARACTERS if chinese else minhash.WORDS
        return {tuple(pieces[at : at + size]) for at in range(len(pieces) - size + 1)}

    return len(grams(one) & grams(other)) / len(grams(one) | grams(other))


def changed(chance: random.Random, pieces: list[str], count: int, fresh: list[str]) -> list[str]:
    made = list(pieces)
    for place in chance.sample(range(len(made)), count):
        made[place] = chance.choice(fresh)
    return made


@pytest.mark.parametrize("chinese", [False, True])
@pytest.mark.parametrize("count", [0, 2, 6, 20])
def test_signatures_estimate_the_similarity(chinese: bool, count: int) -> None:
    chance = random.Random(count)
    known = list(SIGNS) if chinese else WORDS
    joint = "" if chinese else " "
    pieces = chance.choices(known, k=400)
    one, other = joint.join(pieces), joint.join(changed(chance, pieces, count, known))
    found = minhash.similar(
        minhash.signature(one, chinese=chinese)[None], minhash.signature(other, chinese=chinese)[None]
    )
    assert abs(found[0] - similarity(one, other, chinese=chinese)) < 0.14  # more than three standard deviations


def test_case_spaces_and_marks_make_no_difference() -> None:
    one = minhash.signature("Hello, World! How are you today?", chinese=False)
    assert (one == minhash.signature("hello world\nhow ARE you, today", chinese=False)).all()
    assert (
        minhash.signature("今天，天气很好。", chinese=True) == minhash.signature("今天天气 很好", chinese=True)
    ).all()


def test_signatures_stay_the_same_for_ever() -> None:
    """A number that is written down: corpora of two versions of this program agree on what a copy is."""
    assert minhash.signature("one two three four five six", chinese=False)[:3].tolist() == PINNED
    assert len(minhash.signature("", chinese=False)) == minhash.HASHES


def written(work: Path, groups: list[list[str]]) -> list[Part]:
    """A part a group of texts, and the list of all."""
    work.mkdir(exist_ok=True)
    made: list[Part] = []
    first = 0
    for number, group in enumerate(groups):
        writer = parts.PartWriter(work, f"{number:05d}-0000", near=True)
        for place, text in enumerate(group):
            writer.add(Kept(0, place, len(text), "en", text))
        writer.close()
        made.append(Part(writer.name, number, 0, writer.documents, writer.bytes, first))
        first += writer.documents
    parts.write_json(work / dedupe.PARTS, [asdict(part) for part in made])
    return made


def found(work: Path, made: list[Part], *, turned: bool = False) -> dict[int, tuple[str, int]]:
    todo = dedupe.tasks(work, sum(part.documents for part in made), exact=True, near=True, similarity=0.8)
    for task in reversed(todo) if turned else todo:
        dedupe.find(task)
    return {
        part.first + place: (kind, of) for part in made for place, (kind, of, _) in dedupe.copies(work, part).items()
    }


@pytest.fixture
def groups() -> list[list[str]]:
    """Thirty texts; then exact copies of ten, near ones of ten, and ten that are half like one."""
    chance = random.Random(5)
    originals = [chance.choices(WORDS, k=150) for _ in range(30)]
    exact = [list(one) for one in originals[:10]]
    near = [changed(chance, one, 2, WORDS) for one in originals[10:20]]
    half = [[*one[:75], *chance.choices(WORDS, k=75)] for one in originals[20:]]
    texts = [" ".join(one) for one in (*originals, *exact, *near, *half)]
    return [texts[:17], texts[17:43], texts[43:]]


def test_exact_and_near_copies_are_found_across_parts_and_half_copies_are_not(
    tmp_path: Path, groups: list[list[str]]
) -> None:
    wanted = {30 + n: ("exact", n) for n in range(10)} | {40 + n: ("near", 10 + n) for n in range(10)}
    assert found(tmp_path, written(tmp_path, groups)) == wanted


def test_the_order_of_looking_and_the_ranges_make_no_difference(
    tmp_path: Path, groups: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = found(tmp_path / "a", written(tmp_path / "a", groups))
    monkeypatch.setattr(dedupe, "RANGE", 7)
    assert found(tmp_path / "b", written(tmp_path / "b", groups), turned=True) == whole
    texts = [text for group in groups for text in group]
    assert found(tmp_path / "c", written(tmp_path / "c", [[text] for text in texts])) == whole


def test_the_first_of_a_chain_is_kept(tmp_path: Path) -> None:
    """Each like the one before, the last unlike the first: what is dropped has an earlier one that it is like."""
    chance = random.Random(3)
    chain = [chance.choices(WORDS, k=200)]
    for _ in range(8):
        chain.append(changed(chance, chain[-1], 3, WORDS))
    made = found(tmp_path, written(tmp_path, [[" ".join(one) for one in chain]]))
    assert 0 not in made
    assert all(of < copy for copy, (_, of) in made.items())
    assert len(made) >= 6


def test_many_different_texts_in_one_band_are_each_compared(tmp_path: Path) -> None:
    """Rows of keys that collide: what the first differs from is compared with the others."""
    made = written(
        tmp_path, [["alpha beta gamma delta epsilon", "zeta eta theta iota kappa", "zeta eta theta iota kappa"]]
    )
    keys = np.load(tmp_path / "00000-0000.keys.npy")
    keys[1:] = 5
    order = np.tile(np.arange(3, dtype=np.uint32), (len(keys), 1))
    order[0] = np.load(tmp_path / "00000-0000.order.npy")[0]
    parts.save(tmp_path / "00000-0000.keys.npy", keys)
    parts.save(tmp_path / "00000-0000.order.npy", order)
    todo = dedupe.tasks(tmp_path, 3, exact=False, near=True, similarity=0.8)
    dedupe.find(todo[0])
    assert {place: of for place, (_, of, _) in dedupe.copies(tmp_path, made[0]).items()} == {2: 1}
