"""The starter's training rows: what they ask and answer, and that nothing kept out gets into them."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from core.extract.dialects import studio
from core.extract.schema import Schema
from train.starter import gold, mixture, real, wording

SEEN = "spouse"


def bio(rows: list[list[tuple[str, str]]]) -> str:
    return "\n".join("".join(f"{token}\t{tag}\n" for token, tag in row) for row in rows)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small folder laid out as the published data are."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "re").mkdir()
    rng = random.Random(1)
    wordings = wording.dataset("fewrel")["relations"]
    rows = []
    for name in [*wordings, *real.UNSEEN]:
        for number in range(40):
            head, tail = f"Head{rng.randrange(10**6)}", f"Tail{rng.randrange(10**6)}"
            told = {"head": head, "relation": name, "tail": tail}
            rows.append({"text": f"{head} and {tail} number {number} {name}.", "relation": [told]})
    (folder / "re" / "fewrel_wiki.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    nominal = [
        {"text": f"The {name} part {number}.", "relation": [{"head": "The", "relation": name, "tail": "part"}]}
        for name in wording.dataset("semeval")["relations"]
        for number in range(20)
    ]
    (folder / "re" / "semeval2010_task8.jsonl").write_text("\n".join(map(json.dumps, nominal)) + "\n")
    for domain in real.DOMAINS:
        keys = list(wording.dataset("crossner")[domain]["entities"])
        (folder / "ner" / "crossner").mkdir(parents=True, exist_ok=True)
        for part, count in (("train", 12), ("dev", 30)):
            made = [
                [
                    ("In", "O"),
                    (f"{domain}{part}{number}", f"B-{keys[number % len(keys)]}"),
                    ("Town", f"I-{keys[number % len(keys)]}"),
                    (",", "O"),
                    ("yes", "O"),
                    (".", "O"),
                ]
                for number in range(count)
            ]
            (folder / "ner" / "crossner" / f"{domain}.{part}.bio").write_text(bio(made))
    (folder / "ner" / "wnut17").mkdir()
    made = [[("lol", "O"), (f"Bob{number}", "B-person")] if number % 2 else [("nothing", "O")] for number in range(40)]
    for part in ("train", "dev"):
        (folder / "ner" / "wnut17" / f"{part}.bio").write_text(bio(made))
    return folder


@pytest.fixture(scope="module")
def rows(data: Path) -> list[mixture.Row]:
    return list(mixture.rows(data, 3000, random.Random(5)))


def test_every_source_gives_rows_and_the_same_seed_the_same_ones(data: Path, rows: list[mixture.Row]) -> None:
    kinds = {row.source.split()[-1] for row in rows}
    assert {"fewrel", "semeval", "crossner", "coarse", "wnut", "ee", "re", "ner", "events"} <= kinds
    assert list(mixture.rows(data, 3000, random.Random(5))) == rows


def test_answers_keep_to_the_studio_format_and_quote_their_text(rows: list[mixture.Row]) -> None:
    for row in rows:
        text = row.prompt.rsplit("\nText: ", 1)[1].removesuffix("\nAnswer:\n")
        if row.completion == studio.NONE:
            continue
        for line in row.completion.split("\n"):
            name, _, told = line.partition(": ")
            assert f"\n- {name}" in row.prompt
            for record in told.split(studio.SEPARATOR):
                for part in record.split(studio.PART):
                    words = part if part in text else part.partition(": ")[2]
                    assert words in text, (part, text)


def test_nothing_that_is_kept_out_is_trained_on(data: Path, rows: list[mixture.Row]) -> None:
    prompts = "\n".join(row.prompt for row in rows)
    for name in real.UNSEEN:
        assert f"- {name}" not in prompts
    for one in gold.published(data, most=50, rng=random.Random(0)):
        for row in one.rows:
            assert row["text"] not in prompts


def test_many_rows_have_no_answer_and_many_several_records(rows: list[mixture.Row]) -> None:
    none = sum(row.completion == studio.NONE for row in rows) / len(rows)
    several = sum(studio.SEPARATOR in row.completion or "\n" in row.completion for row in rows) / len(rows)
    assert 0.05 < none < 0.5
    assert several > 0.1


def test_a_group_shares_the_start_of_its_prompt(rows: list[mixture.Row]) -> None:
    group = rows[: mixture.GROUP]
    starts = {row.prompt.rsplit("\nText: ", 1)[0] for row in group}
    assert len(starts) == 1


def test_gold_sets_ask_for_more_absent_types_than_present_ones(data: Path) -> None:
    for one in gold.sets(data, most=40, seed=3):
        if one.name.startswith("eehand"):
            continue
        asked = len(one.schema.types(one.task))
        for row in one.rows:
            present = {
                told.get("relation") or told.get("type")
                for told in next(iter([v for k, v in row.items() if k != "text"]))
            }
            assert asked - len(present) >= 2 * len(present), (one.name, present)


def test_names_of_a_schema_are_distinct_and_lead_back_to_their_keys() -> None:
    wordings = wording.dataset("fewrel")["relations"]
    for seed in range(50):
        rng = random.Random(seed)
        asked = wording.relations(wordings, list(wordings), wording.Style.draw(rng), rng)
        assert isinstance(asked.schema, Schema)
        assert len({one.name.casefold() for one in asked.schema.relations}) == len(asked.schema.relations)
        assert set(asked.names.values()) == {one.name for one in asked.schema.relations}


def test_bio_keeps_its_places_when_spaced_as_people_write() -> None:
    tokens, tags = ["He", "said", '"', "Hi", "Bob", '"', "(", "aside", ")", "."], ["O"] * 4 + ["B-person"] + ["O"] * 5
    for seed in range(10):
        made = real._spaced(tokens, tags, random.Random(seed))
        (kind, start, end) = made.entities[0]
        assert (kind, made.text[start:end]) == ("person", "Bob")
        assert made.text in ('He said " Hi Bob " ( aside ) .', 'He said "Hi Bob" (aside).')
