"""Gold files as others write them, rows brought together, and the command as a person types it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract import gold, schema
from core.extract.pairing import pair
from core.extract.score import score
from core.extract.score_run import ScoreRequest, ScoreResult, run
from core.operation import Silent
from core.records import Entity, Extraction
from tests.conftest import PROJECT

KEPT_OUT = PROJECT / "train" / "starter" / "kept_out" / "events_en.jsonl"


def lines(path: Path, rows: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def words(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def places(row: Extraction) -> list[tuple]:
    return [(one.text, one.type, one.start) for one in row.entities]


# Tags


BO_IN_ROME = [("Ann Lee", "PER", 0), ("Rome", "LOC", 11)]
SCHEMES = {
    "BIO": "B-PER I-PER O B-LOC O",
    "IOB1": "I-PER I-PER O I-LOC O",
    "BIOES": "B-PER E-PER O S-LOC O",
    "BILOU": "B-PER L-PER O U-LOC O",
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tags_of_every_scheme_are_the_same_entities(scheme: str, tmp_path: Path) -> None:
    pairs = zip(["Ann", "Lee", "in", "Rome", "."], SCHEMES[scheme].split(), strict=True)
    path = words(tmp_path / "gold.bio", "\n" + "\n".join("\t".join(one) for one in pairs) + "\n\n\nHi\tO\n")
    ann, hi = gold.read(path, "ner")
    assert (ann.text, ann.id, places(ann)) == ("Ann Lee in Rome .", "", BO_IN_ROME)
    assert (hi.text, places(hi)) == ("Hi", [])


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("B-A B-A", [("x", "A", 0), ("y", "A", 2)]),
        ("I-A B-A", [("x", "A", 0), ("y", "A", 2)]),
        ("I-A I-B", [("x", "A", 0), ("y", "B", 2)]),
        ("S-A I-A", [("x", "A", 0), ("y", "A", 2)]),
        ("O I-A", [("y", "A", 2)]),
        ("B-A I-A", [("x y", "A", 0)]),
    ],
)
def test_neighbours_are_parted_where_a_tag_says_so(tags: str, wanted: list, tmp_path: Path) -> None:
    path = words(
        tmp_path / "x.bio", "".join(f"{token} {tag}\r\n" for token, tag in zip("xy", tags.split(" "), strict=True))
    )
    assert places(next(gold.read(path, "ner"))) == wanted


def test_a_line_without_a_tag_is_named(tmp_path: Path) -> None:
    path = words(tmp_path / "x.bio", "Ann\tB-PER\nLee\tI-PER\nin\n")
    with pytest.raises(UserError, match=r"Line 3 of .*x\.bio is not a token and its tag: in"):
        list(gold.read(path, "ner"))
    with pytest.raises(UserError, match="entities only"):
        gold.read(path, "re")


# Raw rows


def test_raw_entities_take_free_places_and_longer_ones_first(tmp_path: Path) -> None:
    row = {
        "text": "New York is not York, and Bo is not Bo.",
        "entity": [
            {"entity": "York", "entity_type": "city"},
            {"entity": "New York", "entity_type": "city"},
            *({"entity": "Bo", "entity_type": kind} for kind in ("person", "person", "dog", "person")),
        ],
    }
    made = next(gold.read(lines(tmp_path / "g.jsonl", [row]), "ner"))
    assert [one.start for one in made.entities] == [16, 0, 26, 36, 26, None]


def test_raw_relations_take_the_nearest_pair_and_events_their_nearest_arguments(tmp_path: Path) -> None:
    text = "Bo sang. Much later Ann married Bo in Rome; Rome cheered."
    relation = {"text": text, "relation": [{"head": "Ann", "relation": "spouse", "tail": "Bo", "head_type": "person"}]}
    event = {
        "text": text,
        "event": [
            {
                "event_trigger": "married",
                "event_type": "wedding",
                "arguments": [{"argument": "Bo", "role": "who"}, {"argument": "NAN", "role": "when"}],
            }
        ],
    }
    found = next(gold.read(lines(tmp_path / "r.jsonl", [relation]), "re")).relations[0]
    assert (found.head.start, found.tail.start) == (20, 32)
    made = next(gold.read(lines(tmp_path / "e.jsonl", [event]), "ee")).events[0]
    assert [(one.role, one.start) for one in made.arguments] == [("who", 32)]


def test_gold_that_no_answer_could_say_still_counts(tmp_path: Path) -> None:
    row = {"id": 7, "text": "Bo.", "relation": [{"head": "Bo", "relation": "knows", "tail": "Bo"}]}
    made = next(gold.read(lines(tmp_path / "r.jsonl", [row]), "re"))
    assert (made.id, len(made.relations)) == ("7", 1)


def test_words_are_left_as_they_stand_for_the_iepile_rules(tmp_path: Path) -> None:
    row = {"text": "ANN came.", "entity": [{"entity": "Ann", "entity_type": "person"}]}
    path = lines(tmp_path / "g.jsonl", [row])
    assert places(next(gold.read(path, "ner"))) == [("ANN", "person", 0)]
    assert places(next(gold.read(path, "ner", located=False))) == [("Ann", "person", None)]


def test_offsets_count_characters_beyond_the_basic_plane(tmp_path: Path) -> None:
    row = {"text": "😀 欢迎 王小明\r\n来北京", "entity": [{"entity": "王小明", "entity_type": "人物"}]}
    assert places(next(gold.read(lines(tmp_path / "g.jsonl", [row]), "ner"))) == [("王小明", "人物", 5)]


def test_a_records_file_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = Extraction("a", "Bo ran.", (Entity("Bo", "person", 0, 2),), provenance={"model": "m"})
    assert list(gold.read(lines(tmp_path / "records.jsonl", [made.to_dict()]), "ner")) == [made]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("Hello there, this is prose.\n", "holds no gold that can be read"),
        ('{"text": "a", "entity": []}\n{"text": "a", "entity": [{"entity": "a"}]}\n', "Line 2 of .*entity_type"),
        ('{"text": "a", "entity": []}\n{"text": \n', "Line 2 of .* is not a row to score"),
        ('{"text": "a", "relation": []}\n', "Line 1 of .* has no “entity”"),
        ('{"text": "a", "id": "1", "entities": [{"text": 3, "type": "x"}]}\n', r"Line 1 of .*entities\.0\.text"),
    ],
)
def test_a_file_of_the_wrong_shape_is_refused_with_its_line(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        list(gold.read(words(tmp_path / "x.jsonl", content), "ner"))


# Rows brought together


def row(id: str, text: str, source: str = "") -> Extraction:
    return Extraction(id, text, provenance={"source": source} if source else {})


def together(*sides: list[Extraction], **options: bool) -> list[tuple[str, ...]]:
    return sorted(tuple(one.id for one in pair) for pair in pair(sides, **options))


def test_rows_meet_by_id_in_any_order_and_by_text_where_one_side_has_no_ids() -> None:
    assert together([row("a", "x"), row("b", "x")], [row("b", "x"), row("a", "x")]) == [("a", "a"), ("b", "b")]
    assert together([row("", "x"), row("", "y")], [row("1", "y"), row("2", "x")]) == [("", "1"), ("", "2")]


def test_equal_texts_meet_in_their_order_and_numbers_of_rows_are_no_ids() -> None:
    assert together([row("a", "x"), row("b", "x")], [row("1", "x"), row("2", "x")]) == [("a", "1"), ("b", "2")]


def test_ids_are_those_of_their_source() -> None:
    gold = [row("1", "x", "news"), row("1", "y", "wiki")]
    assert len(together(gold, gold[::-1])) == 2


@pytest.mark.parametrize(
    ("gold", "pred", "message"),
    [
        ([row("a", "x"), row("b", "y")], [row("a", "x")], "1 of the gold rows have no prediction, among them b"),
        ([row("a", "x")], [row("a", "x"), row("c", "z")], "1 of the predicted rows are not in the gold, among them c"),
        ([row("a", "x")], [row("a", "y")], "different texts for the row a"),
        ([row("a", "x"), row("a", "x")], [row("a", "x")], "The id a occurs twice in the gold"),
        ([row("a", "x"), row("", "x")], [row("a", "x")], "A row has no id"),
        ([row("", "x"), row("", "x")], [row("", "x")], "1 of the gold rows have no prediction, among them “x”"),
        ([row("", f"{n}") for n in range(9)], [row("", "0")], "8 of the gold rows .* “5” …"),
    ],
)
def test_rows_that_do_not_meet_are_named(gold: list, pred: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        list(pair([gold, pred]))


def test_a_missing_prediction_may_count_as_nothing_found() -> None:
    gold = [Extraction(id, "Bo", (Entity("Bo", "person", 0, 2),)) for id in "ab"]
    made = score(gold, gold[:1], "ner", allow_missing=True)
    assert (made.total.gold, made.total.predicted, made.missing, made.documents) == (2, 1, 1, 2)


def test_files_in_the_same_order_are_not_held() -> None:
    alive: list[int] = []

    def side(number: int) -> Iterable[Extraction]:
        for at in range(1000):
            alive[number] = at
            yield row(str(at), "x")

    alive += [0, 0]
    for one, _ in pair([side(0), side(1)]):
        assert max(alive) <= int(one.id) + 1


# The command


GOLD = [
    {"text": "Ann met Bo.", "entity": [{"entity": "Ann", "entity_type": "person"}]},
    {"text": "Rome slept.", "entity": [{"entity": "Rome", "entity_type": "place"}]},
]


def predicted(path: Path, *entities: Entity) -> Path:
    rows = [Extraction(str(number), GOLD[number - 1]["text"], found).to_dict()  # type: ignore[arg-type]
            for number, found in enumerate([entities, ()], start=1)]  # fmt: skip
    return lines(path, rows)


def request(tmp_path: Path, *entities: Entity, **more: object) -> ScoreRequest:
    fields: dict = {
        "gold": lines(tmp_path / "gold.jsonl", GOLD),
        "pred": predicted(tmp_path / "records.jsonl", *entities),
        "task": "ner",
    }
    return ScoreRequest(**{**fields, **more})


ANN, BO = Entity("Ann", "person", 0, 3), Entity("Bo", "person", 8, 10)


def test_the_command_prints_scores_and_json(tmp_path: Path) -> None:
    made = request(tmp_path, ANN, BO)
    command = [sys.executable, "-m", "core", "extract", "score", "--gold", str(made.gold), "--pred", str(made.pred),
               "--task", "ner", "--rules", "strict", "--json"]  # fmt: skip
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    total = json.loads(done.stdout)["scores"]["total"]
    assert (total["gold"], total["predicted"], total["correct"], total["f1"]) == (2, 2, 1, 0.5)
    assert len(total["f1_interval"]) == 2


def test_the_receipt_names_every_type_and_the_verdict(tmp_path: Path) -> None:
    before = predicted(tmp_path / "before.jsonl", BO)
    made: ScoreResult = run(request(tmp_path, ANN, BO, before=before), Silent())
    assert made.comparison and made.comparison.verdict == "cannot tell"
    assert "person" in made.summary() and "place" in made.summary() and "cannot tell: F1 0.000 before" in made.summary()


@pytest.mark.parametrize(
    ("found", "more", "message"),
    [
        ([ANN], {"types": "person, planet"}, "Neither gold nor predictions have the types planet. Choose among person"),
        ([Entity("Ann", "PER", 0, 3)], {}, "None of the predicted types is in the gold: predicted are PER"),
        ([ANN], {"task": "re"}, "has no “relation”"),
    ],
)
def test_names_that_differ_are_an_error_and_not_a_score_of_zero(found, more, message, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        run(request(tmp_path, *found, **more), Silent())


def test_the_hand_written_events_are_verbatim_and_fit_their_schemas() -> None:
    rows = [json.loads(line) for line in KEPT_OUT.read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 130 and len({row["text"] for row in rows}) == len(rows)
    assert sum(not row["event"] for row in rows) >= len(rows) // 8
    for raw, made in zip(rows, gold.read(KEPT_OUT, "ee"), strict=True):
        asked = schema.load(raw["schema"]) if isinstance(raw["schema"], str) else schema.from_json(raw["schema"])
        roles = {kind.name: {role.name for role in kind.roles} for kind in asked.events}
        assert len(made.events) == len(raw["event"])
        for event in made.events:
            assert event.trigger.located and all(one.start is not None for one in event.arguments), raw["id"]
            assert {one.role for one in event.arguments} <= roles[event.type], raw["id"]
