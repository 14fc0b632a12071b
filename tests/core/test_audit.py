"""The audit: which sentences are drawn, what a judgement counts as, and figures worked out by hand."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import UserError
from core.extract import audit_share
from core.extract.audit import Audit, told
from core.extract.audit_run import AuditScoreRequest, SampleRequest, sample, score
from core.extract.audit_sample import draw, frame, inside
from core.extract.audit_score import Judged, compared, scores, wilson
from core.extract.audit_values import Judgement, key_of
from core.extract.export import export_run
from core.graph.run import BuildRequest
from core.graph.run import run as build
from core.operation import Silent
from core.records import Argument, Entity, Event, Extraction, Relation, Span
from core.store import Writer

TEXT = "Ann met Bo. Rome slept! 王明去了北京。"


def at(words: str, kind: str, nth: int = 0) -> Entity:
    start = [place for place in range(len(TEXT)) if TEXT.startswith(words, place)][nth]
    return Entity(words, kind, start, start + len(words))


def span(words: str) -> Span:
    return Span(words, TEXT.index(words), TEXT.index(words) + len(words))


ROW = Extraction(
    "1",
    TEXT,
    entities=(at("Ann", "person"), at("Rome", "place"), at("王明", "person"), Entity("Paris", "place")),
    relations=(Relation(span("Ann"), "met", span("Bo")), Relation(Span("Zoe"), "met", span("王明"))),
    events=(Event("sleep", span("slept"), (Argument("who", "Rome", *(span("Rome").start, span("Rome").end)),)),),
    provenance={"task": ["ner", "re"]},
)


def run_of(folder: Path, *rows: Extraction) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row.to_dict(), ensure_ascii=False) + "\n" for row in rows)
    (folder / "records.jsonl").write_text(text, encoding="utf-8")
    return folder


def words(row: Extraction, nr: int, *tasks: str) -> list[str]:
    start, end = frame(row.text)[nr]
    return [piece.words for piece in inside(row, start, end, tasks)]  # type: ignore[arg-type]


# The sample


def test_every_record_belongs_to_one_sentence() -> None:
    assert words(ROW, 0, "ner") == ["Ann", "Paris"], "what has no place stands with the first"
    assert words(ROW, 1, "ner") == ["Rome"]
    assert words(ROW, 2, "ner") == ["王明"]
    assert words(ROW, 0, "re") == ["Ann → met → Bo"]
    assert words(ROW, 2, "re") == ["Zoe → met → 王明"], "a relation without a head begins at its tail"
    assert words(ROW, 1, "ee") == ["slept", "slept, who: Rome"]


def test_each_sentence_is_drawn_as_often_as_any_other() -> None:
    rows = [Extraction(str(n), f"Text {n} is long. It ends.", confidence=n / 30) for n in range(30)]
    seen: Counter[tuple[str, int]] = Counter()
    for seed in range(300):
        seen.update((one.document.id, one.start) for one in draw(rows, 12, seed).drawn)
    assert len(seen) == 60
    expected = 300 * 12 / 60
    assert sum((n - expected) ** 2 / expected for n in seen.values()) < 110, "chi-squared, 59 degrees of freedom"


def test_the_same_seed_draws_the_same_sentences_in_an_order_of_chance() -> None:
    rows = [Extraction(str(n), f"Text {n}.") for n in range(50)]
    one, same, other = (draw(rows, 20, seed).drawn for seed in (1, 1, 2))
    assert one == same and one != other
    assert [int(each.document.id) for each in one] != sorted(int(each.document.id) for each in one)


def test_a_stratified_sample_holds_half_of_what_was_found_in() -> None:
    rows = [Extraction(str(n), "Ann is here.", (Entity("Ann", "p", 0, 3),) if n % 20 == 0 else ()) for n in range(400)]
    made = draw(rows, 30, 7, "stratified")
    assert made.population == {"found": 20, "empty": 380}
    assert Counter(one.stratum for one in made.drawn) == {"found": 15, "empty": 15}
    assert len(draw(rows, 10_000, 7).drawn) == 400, "there are no more"


# The figures


def test_figures_are_sums_over_sentences() -> None:
    made = scores([Judged("every", 3, 2, 2), Judged("every", 1, 2, 1), Judged("every", 0, 0, 0)], {"every": 1000})
    assert made.precision and made.recall and made.f1
    assert (made.precision.value, made.recall.value, made.f1.value) == (0.75, 0.75, 0.75)
    assert made.precision.interval[0] < 0.75 < made.precision.interval[1]
    assert (made.gold, made.predicted, made.correct, made.sentences) == (4, 4, 3, 3)


def test_sentences_count_by_what_they_stand_for() -> None:
    judged = [Judged("found", 1, 2, 1)] * 10 + [Judged("empty", 1, 0, 0)] * 10
    made = scores(judged, {"found": 100, "empty": 900})
    assert made.precision and made.recall
    assert made.precision.value == 0.5
    assert made.recall.value == pytest.approx(0.1), "100 found of 100 + 900"
    assert scores(judged[:10], {"found": 100, "empty": 900}).recall is None, "of the empty ones nothing is known yet"


def test_wilsons_interval_is_the_textbooks() -> None:
    assert wilson(0.8, 50) == pytest.approx((0.6696, 0.8876), abs=2e-4)
    assert wilson(1.0, 10) == pytest.approx((0.7225, 1.0), abs=2e-4)
    assert wilson(0.5, math.inf) == (0.5, 0.5)


def test_all_right_is_not_certain_and_all_judged_is() -> None:
    ten = [Judged("every", 5, 5, 5)] * 10
    few, whole = scores(ten, {"every": 5000}), scores(ten, {"every": 10})
    assert few.precision and whole.precision
    assert few.precision.interval == pytest.approx(wilson(1.0, 10)), "ten sentences, not fifty records"
    assert whole.precision.interval == (1.0, 1.0)
    assert scores([Judged("every", 0, 0, 0)], {"every": 9}).precision is None


def test_the_interval_holds_the_truth_about_nineteen_times_in_twenty() -> None:
    """Records of a sentence share its luck, as they do in life; the intervals must not believe them independent."""
    chance = random.Random(11)
    population = []
    for _ in range(3000):
        luck, number = chance.choice((0.3, 0.95)), chance.choice((0, 1, 2, 4))
        right = sum(chance.random() < luck for _ in range(number))
        population.append(Judged("every", right + chance.randint(0, 2), number, right))
    truth = sum(one.correct for one in population) / sum(one.predicted for one in population)
    recall = sum(one.correct for one in population) / sum(one.gold for one in population)
    held = [0, 0]
    for _ in range(400):
        made = scores(chance.sample(population, 80), {"every": 3000})
        assert made.precision and made.recall
        held[0] += made.precision.interval[0] <= truth <= made.precision.interval[1]
        held[1] += made.recall.interval[0] <= recall <= made.recall.interval[1]
    assert all(0.915 <= number / 400 <= 0.985 for number in held), held


def test_pairs_tell_what_two_intervals_could_not() -> None:
    chance = random.Random(4)
    before = [Judged("every", 4, 4, chance.randint(0, 4)) for _ in range(100)]
    after = [replace(one, correct=min(4, one.correct + (number % 5 == 0))) for number, one in enumerate(before)]
    population = {"every": 5000}
    assert compared(list(zip(before, after, strict=True)), population).verdict == "better"
    assert compared(list(zip(before, before, strict=True)), population).verdict == "cannot tell"
    old, new = scores(before, population).f1, scores(after, population).f1
    assert old and new and old.interval[1] > new.interval[0]


# Judging


def drawn(folder: Path, *rows: Extraction) -> Audit:
    made = sample(SampleRequest(run=run_of(folder, *rows), size=10, who="Li"), Silent())
    assert made.sentences == sum(len(frame(row.text)) for row in rows)
    return Audit(folder)


def test_a_run_says_not_audited_until_somebody_has_judged(tmp_path: Path) -> None:
    assert told(tmp_path) == {"audited": False}
    audit = drawn(tmp_path / "run", ROW)
    assert told(audit.folder) == {"audited": False} == json.loads((audit.folder / "audit.json").read_text())
    with pytest.raises(UserError, match="has not been audited"):
        score(AuditScoreRequest(run=run_of(tmp_path / "other", ROW)), Silent())


def test_a_judged_sentence_counts_what_is_right_wrong_and_missing(tmp_path: Path) -> None:
    audit = drawn(tmp_path / "run", ROW)
    info = audit.newest()
    assert (info.tasks, info.size, info.judged, info.who) == (("ner", "re"), 3, 0, "Li")
    first = next(item for item in audit.items(info.sample) if item.start == 0)
    ann, paris, relation = first.pieces(info.tasks)
    added = Extraction("1", TEXT, entities=(at("Bo", "person"),))
    audit.judge(info.sample, first.nr, Judgement((key_of(paris), key_of(relation)), added), "Li")
    (judged,) = [one for item in audit.items(info.sample) if (one := item.judged(info.tasks))]
    assert (judged.gold, judged.predicted, judged.correct) == (2, 3, 1)
    assert ann.words == "Ann"
    made = score(AuditScoreRequest(run=audit.folder), Silent())
    assert made.left == 2 and made.scores.precision and made.scores.precision.value == pytest.approx(1 / 3)
    said = json.loads((audit.folder / "audit.json").read_text(encoding="utf-8"))
    assert said == told(audit.folder) and said["audited"] and (said["precision"], said["recall"]) == (0.3333, 0.5)
    assert (said["sentences"], said["population"], said["who"]) == (1, 3, ["Li"])


def test_what_was_said_is_kept_and_can_be_taken_back(tmp_path: Path) -> None:
    audit = drawn(tmp_path / "run", ROW)
    info = audit.newest()
    audit.judge(info.sample, 0, Judgement(), "Li")
    audit.judge(info.sample, 0, Judgement(("x",)), "Wang")
    (item,) = audit.items(info.sample, 0)
    assert item.judgement and (item.judgement.wrong, item.judgement.who) == (("x",), "Wang")
    audit.judge(info.sample, 0, None, "Li")
    assert audit.open_items(info.sample) == [0, 1, 2]
    assert audit.newest().judged == 0 and not told(audit.folder)["audited"]


def test_a_sample_shared_by_two_runs_is_judged_once_and_compares_them(tmp_path: Path) -> None:
    one = replace(ROW, entities=(at("Ann", "person"), at("Rome", "person")), relations=())
    other = replace(ROW, entities=(at("Ann", "person"), at("Bo", "person"), at("Rome", "person")), relations=())
    first = drawn(tmp_path / "one", one)
    sample(SampleRequest(run=run_of(tmp_path / "two", other), same_as=first.folder, who="Li"), Silent())
    second = Audit(tmp_path / "two")
    info, shared = first.newest(), second.newest()
    assert (shared.origin, shared.size) == (str(first.folder.resolve()), 3)
    for item in first.items(info.sample):
        bo = Extraction("1", TEXT, entities=(at("Bo", "person"),)) if item.start == 0 else None
        wrong = tuple(key_of(piece) for piece in item.pieces(info.tasks) if piece.words == "Rome")
        first.judge(info.sample, item.nr, Judgement(wrong, bo), "Li")
    for item in second.items(shared.sample):
        suggestion = audit_share.suggested(shared, item)
        assert suggestion is not None and not (suggestion.added and suggestion.added.entities), "it found Bo itself"
        assert len(suggestion.wrong) == ("Rome" in item.sentence)
        second.judge(shared.sample, item.nr, suggestion, "Li")
    told_of = score(AuditScoreRequest(run=second.folder, before=first.folder), Silent())
    assert told_of.comparison and told_of.comparison.documents == 3
    assert (told_of.comparison.before, told_of.comparison.after) == (pytest.approx(0.5), pytest.approx(0.8))


def test_a_sample_can_not_be_shared_with_a_run_on_other_texts(tmp_path: Path) -> None:
    first = drawn(tmp_path / "one", ROW)
    with pytest.raises(UserError, match="3 of the 3 texts of the sample are not in this run"):
        Audit(run_of(tmp_path / "two", Extraction("1", "Other."))).share(first, "Li")


def test_a_run_without_sentences_or_by_a_newer_version_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no sentence to judge"):
        Audit(run_of(tmp_path / "empty", Extraction("1", "…"))).sample(5, 1, "Li")
    audit = drawn(tmp_path / "run", ROW)
    import sqlite3

    with sqlite3.connect(audit.file) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer version"):
        audit.newest()


# Who tells it on


def test_a_graph_and_its_files_carry_the_audit_of_their_run(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", ROW)
    for judged in (False, True):
        if judged:
            audit = drawn(folder, ROW)
            audit.judge(audit.newest().sample, 0, Judgement(), "Li")
        out = tmp_path / f"graph {judged}"
        build(BuildRequest(run=folder, out=out), Silent())
        assert json.loads((out / "audit.json").read_text(encoding="utf-8"))["audited"] is judged
        wanted = "Audited, 1 sentences: precision" if judged else "Not audited"
        assert all(wanted in (out / name).read_text(encoding="utf-8") for name in ("graph.html", "graph.graphml"))


def test_the_exports_of_a_run_say_whether_it_was_audited(tmp_path: Path) -> None:
    with Writer(tmp_path, {}) as writer:
        writer.put(0, "k", ROW)
    export_run(tmp_path)
    assert json.loads((tmp_path / "audit.json").read_text(encoding="utf-8")) == {"audited": False}
