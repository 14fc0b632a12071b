"""InstructKGC as the guide docs/guide/ccks.md works it through: rows, batch, submission, score."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from core.errors import UserError
from core.extract import instructkgc, score_run
from core.extract.instructkgc import rows, schema_of, submission, wants_completion
from core.extract.instructkgc_run import InstructKGCRequest, records, run
from core.extract.score_run import ScoreRequest
from core.extract.submission_run import SubmissionRequest
from core.extract.submission_run import run as hand_in
from core.operation import Silent
from core.paths import ASSETS

SAMPLE = ASSETS / "samples" / "instructkgc.jsonl"


@pytest.mark.parametrize(
    ("instruction", "entities", "relations"),
    [
        ("已知候选的关系列表：['父母', '配偶']，请按照(头实体,关系,尾实体)的格式回答。", [], ["父母", "配偶"]),
        ("你可能用到的关系有：{'民族','出生地'}。", [], ["民族", "出生地"]),
        ("抽取实体类型为{'人类','组织'},关系类型为{'属于','获奖'},先识别实体", ["人类", "组织"], ["属于", "获奖"]),
        ("实体类型：[人物，地点]；关系：［“位于”，“出生地”］", ["人物", "地点"], ["位于", "出生地"]),
        ("Relations: [\"born in\", 'child of', 'born in'], give (head,relation,tail).", [], ["born in", "child of"]),
    ],
)  # fmt: skip
def test_the_schema_is_read_from_the_instruction(instruction: str, entities: list[str], relations: list[str]) -> None:
    made = schema_of(instruction)
    assert ([one.name for one in made.entities], [one.name for one in made.relations]) == (entities, relations)
    assert made.language == ("en" if instruction.isascii() else "zh")


@pytest.mark.parametrize("instruction", ["", "请抽取三元组。", "关系：[]", "实体类型为{'人类'}"])
def test_an_instruction_without_relations_is_refused(instruction: str) -> None:
    with pytest.raises(UserError, match="lists no relations"):
        schema_of(instruction)


def test_completion_is_told_by_the_text_that_lacks_something_or_by_the_instructions_words() -> None:
    assert wants_completion({"instruction": "关系：['a']", "miss_input": "x"})
    assert wants_completion({"instruction": "请补全缺失的三元组，关系：['a']"})
    assert not wants_completion({"instruction": "关系：['补全', '缺失']", "miss_input": ""})
    assert [row.completion for row in rows(SAMPLE)].count(True) == 1


def test_a_bad_row_is_named(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    for content, told in (
        ('{"id": "1", "text": "x"}', "Row 1 of"),
        ('{"instruction": "关系：[\'a\']", "input": "x"}\n{', "Line 2 of"),
        ('[{"instruction": "x", "input": "x"}]', "lists no relations"),
        ("[" * 100_000, "Line 1 of"),
    ):
        file.write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=told):
            list(rows(file))
    file.write_text(json.dumps([json.loads(line) for line in SAMPLE.read_text("utf-8").splitlines()]), encoding="utf-8")
    assert list(rows(file)) == list(rows(SAMPLE))


class Model(BaseHTTPRequestHandler):
    """Answers each row of the sample with its gold, in one of the shapes that these models use."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[str]] = []
    answers: ClassVar[dict[str, str]] = {}

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Model.asked.append(body["prompt"])
        text = body["prompt"].split("### Input:\n")[1].split("\n\n### Response:")[0]
        raw = json.dumps(
            {
                "choices": [{"finish_reason": "stop", "text": Model.answers.get(text, "NAN")}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_GET(self) -> None:
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def model(workspace: Path) -> Iterator[str]:
    Model.asked, Model.answers = [], {}
    for number, row in enumerate(rows(SAMPLE)):
        triples = row.kg or ()
        Model.answers[row.text] = (
            instructkgc.written(triples)
            if number % 2
            else "\n".join(f"头实体是{head}，关系是{name}，尾实体是{tail}" for head, name, tail in triples)
        ) or "NAN"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1#stub"
    server.shutdown()
    server.server_close()


def test_from_the_input_file_to_the_submission_and_its_score(model: str, tmp_path: Path) -> None:
    request = InstructKGCRequest(input=SAMPLE, out=tmp_path / "run", model=model, dialect="zhixi")
    made = run(request, Silent())
    wanted = list(rows(SAMPLE))
    assert (made.rows, made.completion, made.failed) == (len(wanted), 1, 0)
    asked = len(Model.asked)
    assert asked == len(wanted)
    assert all(any(row.instruction in prompt for row in wanted) for prompt in Model.asked)  # to the letter
    found = list(records(tmp_path / "run"))
    assert [one.id for one in found] == [row.id for row in wanted]
    beyond = next(one for one, row in zip(found, wanted, strict=True) if row.completion)
    assert beyond.provenance["grounding"] == "off"
    assert [one["problem"] for one in beyond.provenance["warnings"]][-1].startswith("These records may say more")
    assert all(one.head.start is None and one.tail.start is None for one in beyond.relations)
    assert "远帆队" in {one.tail.text for one in beyond.relations}  # it is not in the text that the model was given
    assert found[0].relations[0].head.start == 0
    handed = hand_in(SubmissionRequest(run=tmp_path / "run", out=tmp_path / "submission.jsonl", gold=SAMPLE), Silent())
    assert handed.score is not None
    assert (handed.score.f1, handed.score.correct, handed.empty) == (1.0, made.triples, 1)
    lines = [json.loads(line) for line in handed.out.read_text(encoding="utf-8").splitlines()]
    assert [list(line) for line in lines] == [["id", "output", "kg"]] * len(wanted)
    assert [line["kg"] for line in lines] == [[list(triple) for triple in row.kg or ()] for row in wanted]
    assert lines[0]["output"].startswith("(林若兰,出生地,苏州)(")
    told = ScoreRequest(gold=SAMPLE, pred=tmp_path / "run" / "records.jsonl", task="re", rules="iepile")
    assert score_run.run(told, Silent()).scores.total.f1 == 1.0
    run(request, Silent())
    assert len(Model.asked) == asked  # nothing is asked twice


def test_a_submission_is_scored_as_it_is_and_rows_of_other_files_are_refused(model: str, tmp_path: Path) -> None:
    first = next(iter(rows(SAMPLE)))
    Model.answers[first.text] = f"({first.kg[0][0]},{first.kg[0][1]},别处)(林若兰,不在表中,x)"  # type: ignore[index]
    run(InstructKGCRequest(input=SAMPLE, out=tmp_path / "run", model=model, dialect="zhixi", limit=1), Silent())
    request = SubmissionRequest(run=tmp_path / "run", out=tmp_path / "out.jsonl", gold=SAMPLE)
    made = hand_in(request, Silent())
    assert made.score is not None
    assert (made.triples, made.score.correct) == (1, 0)
    other = tmp_path / "other.jsonl"
    other.write_text(SAMPLE.read_text("utf-8").replace("sample-", "other-"), encoding="utf-8")
    with pytest.raises(UserError, match="not in the gold"):
        hand_in(request.model_copy(update={"gold": other}), Silent())


def test_gold_is_said_to_be_missing_where_rows_only_ask(tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    test.write_text('{"id": "1", "instruction": "关系：[\'a\']", "input": "x"}\n', encoding="utf-8")
    assert next(iter(rows(test))).kg is None
    with pytest.raises(UserError, match="neither kg nor output"):
        list(instructkgc.gold(test))
    said = tmp_path / "said.jsonl"
    row = {"id": "1", "instruction": "关系：['a']", "input": "x", "output": "(甲,a,乙)"}
    said.write_text(json.dumps(row), encoding="utf-8")
    (made,) = instructkgc.gold(said)
    assert submission(made) == {"id": "1", "output": "(甲,a,乙)", "kg": [["甲", "a", "乙"]]}
