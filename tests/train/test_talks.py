"""Every format is read as it is published; what can't be learned from is refused with its file and line."""

from __future__ import annotations

import csv
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from core.errors import UserError
from core.extract.dialects import studio
from core.extract.schema import from_json
from tests.train.conftest import written
from train import talks
from train.talks import Message, Refused, Talk

SCHEMA = from_json(
    {
        "entities": ["person", "place"],
        "relations": ["born in"],
        "events": [{"name": "birth", "roles": ["who"]}],
    }
)


def read(path: Path, **settings: Any) -> list[Talk]:
    made = list(talks.read(path, **settings))
    assert not [one for one in made if isinstance(one, Refused)], made
    return [one for one in made if isinstance(one, Talk)]


def refused(path: Path, **settings: Any) -> list[str]:
    return [f"{one.where} {one.why}" for one in talks.read(path, **settings) if isinstance(one, Refused)]


def turns(talk: Talk) -> list[tuple[str, str]]:
    return [(one.role, one.content) for one in talk.messages]


ALPACA = [
    {"instruction": "Add.", "input": "1 1", "output": "2"},
    {"instruction": "Say hello.", "input": "", "output": "hello"},
]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".tsv"])
def test_alpaca_rows_are_read_from_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps(ALPACA, indent=1), encoding="utf-8")
    elif suffix == ".jsonl":
        written(path, ALPACA)
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(ALPACA[0]), delimiter="\t" if suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(ALPACA)
    first, second = read(path)
    assert turns(first) == [("user", "Add.\n\n1 1"), ("assistant", "2")]
    assert (first.instruction, first.input) == ("Add.", "1 1")
    assert turns(second) == [("user", "Say hello."), ("assistant", "hello")]
    assert first.where.startswith(path.name + ":")


def test_alpaca_rows_may_have_a_system_turn_and_a_history(tmp_path: Path) -> None:
    row = {**ALPACA[0], "system": "Be brief.", "history": [["2 2", "4"]]}
    (talk,) = read(written(tmp_path / "a.jsonl", [row]))
    assert [role for role, _ in turns(talk)] == ["system", "user", "assistant", "user", "assistant"]


def test_conversations_of_sharegpt_and_openai_are_the_same_talk(tmp_path: Path) -> None:
    said = [("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye"), ("assistant", "Ciao")]
    names = {"user": "human", "assistant": "gpt"}
    sharegpt = [{"from": names[role], "value": text} for role, text in said[1:]]
    messages = [{"role": role, "content": text} for role, text in said]
    (one,) = read(written(tmp_path / "s.jsonl", [{"conversations": sharegpt, "system": "Be kind."}]))
    (other,) = read(written(tmp_path / "m.jsonl", [{"messages": messages}]))
    assert turns(one) == turns(other) == said


def test_parts_of_text_are_joined_and_a_call_of_a_tool_is_no_answer(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    asked = {"role": "user", "content": "Hi"}
    good = {"messages": [asked, {"role": "assistant", "content": parts}]}
    called = {"messages": [asked, {"role": "assistant", "content": None, "tool_calls": []}]}
    image = {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, {"role": "assistant", "content": "x"}]}
    path = written(tmp_path / "m.jsonl", [good, called, image])
    assert [turns(one)[-1][1] for one in talks.read(path) if isinstance(one, Talk)] == ["Hello"]
    assert [line.split()[0] for line in refused(path)] == ["m.jsonl:2", "m.jsonl:3"]


def test_iepile_rows_are_asked_as_they_stand(tmp_path: Path) -> None:
    asked = json.dumps({"instruction": "Extract.", "schema": ["person"], "input": "王小明来了"}, ensure_ascii=False)
    row = {"task": "NER", "source": "x", "instruction": asked, "output": '{"person": ["王小明"]}'}
    (talk,) = read(written(tmp_path / "ie.jsonl", [row]))
    assert turns(talk) == [("user", asked), ("assistant", row["output"])]


def test_instructie_rows_are_asked_by_the_studio_prompt_of_inference(tmp_path: Path) -> None:
    row = {"id": "1", "cate": "p", "text": "Ada was born in London.", "relation": []}
    row["relation"] = [{"head": "Ada", "relation": "born in", "tail": "London"}]
    (talk,) = read(written(tmp_path / "in.jsonl", [row]), schema=SCHEMA)
    assert turns(talk)[0][1] == studio.prompt("re", SCHEMA, row["text"])
    assert turns(talk)[1][1] == "born in: Ada | London"


RECORD = {
    "id": "1",
    "text": "Ada was born in London.",
    "entities": [{"text": "Ada", "type": "person", "start": 0, "end": 3}],
    "relations": [
        {"head": {"text": "Ada", "start": 0, "end": 3}, "relation": "born in", "tail": {"text": "London"}},
    ],
    "events": [
        {"type": "birth", "trigger": {"text": "born"}, "arguments": [{"role": "who", "text": "Ada"}]},
    ],
}


def test_a_row_of_records_is_a_talk_for_each_task_of_its_schema(tmp_path: Path) -> None:
    made = read(written(tmp_path / "records.jsonl", [RECORD]), schema=SCHEMA)
    assert [turns(one)[1][1] for one in made] == [
        "person: Ada",
        "born in: Ada | London",
        "birth: born | who: Ada",
    ]
    for task, talk in zip(("ner", "re", "ee"), made, strict=True):
        assert turns(talk)[0][1] == studio.prompt(task, SCHEMA, RECORD["text"])  # type: ignore[arg-type]
        assert not talk.bare  # asked in the form of the model, as inference does
    assert "Rows of records need a schema" in refused(tmp_path / "records.jsonl")[0]


@pytest.mark.parametrize("answer", ["completion", "answer"])
def test_a_bare_prompt_and_its_answer(tmp_path: Path, answer: str) -> None:
    (talk,) = read(written(tmp_path / "p.jsonl", [{"prompt": "1 + 1 =", answer: " 2"}]))
    assert talk.bare and talk.messages == (Message("user", "1 + 1 ="), Message("assistant", " 2"))


def test_columns_under_other_names_are_mapped(tmp_path: Path) -> None:
    path = tmp_path / "faq.csv"
    path.write_text("question,reply\nWho?,Ada\n", encoding="utf-8")
    (talk,) = read(path, fields={"instruction": "question", "output": "reply"})
    assert turns(talk) == [("user", "Who?"), ("assistant", "Ada")]
    (bare,) = read(path, fields={"prompt": "question", "answer": "reply"})
    assert bare.bare


def test_a_format_is_told_from_several_rows_when_the_first_lacks_a_field(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [{"instruction": "x"}, ALPACA[0]])
    assert refused(path)[0].startswith("a.jsonl:1 ")
    assert len([one for one in talks.read(path) if isinstance(one, Talk)]) == 1


def test_what_cant_be_learned_from_is_refused_by_file_and_line(tmp_path: Path) -> None:
    path = written(
        tmp_path / "bad.jsonl", [ALPACA[0], {**ALPACA[0], "output": "  "}, {"instruction": "x"}, ["a", "list"]]
    )
    with path.open("a", encoding="utf-8") as file:
        file.write('{"instruction": "torn\n')
    assert [line.split()[0] for line in refused(path)] == [f"bad.jsonl:{line}" for line in (2, 3, 4, 5)]
    assert "output is empty" in refused(path)[0]


def test_a_file_of_another_shape_names_its_fields_and_the_remedy(tmp_path: Path) -> None:
    path = written(tmp_path / "odd.jsonl", [{"question": "x", "reply": "y"}])
    with pytest.raises(UserError, match="question, reply") as caught:
        list(talks.read(path))
    assert "instruction=question" in caught.value.remedy


def test_roles_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "m.jsonl", [{"messages": [{"role": "oracle", "content": "x"}]}])
    assert "“oracle”" in refused(path)[0]


def test_a_folder_gives_its_files_and_an_empty_one_is_told(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    one, other = written(tmp_path / "b.jsonl", ALPACA), written(tmp_path / "deep" / "a.json", ALPACA[:1])
    (tmp_path / "notes.txt").write_text("not data")
    assert talks.files([tmp_path]) == [one, other]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no training data"):
        talks.files([tmp_path / "empty"])
    with pytest.raises(UserError, match="There is no file"):
        talks.files([tmp_path / "gone.json"])


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_large_file_is_streamed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"large{suffix}"
    lines = [json.dumps({**ALPACA[0], "input": f"{number} {'word ' * 200}"}) for number in range(20_000)]
    text = "[" + ",\n".join(lines) + "]" if suffix == ".json" else "\n".join(lines)
    path.write_text(text, encoding="utf-8")
    assert path.stat().st_size > 20 << 20
    tracemalloc.start()
    assert sum(1 for _ in talks.read(path)) == 20_000
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 5 << 20  # the same for any number of rows
