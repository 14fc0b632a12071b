"""The Train page: what it offers, what it shows of rows, of a training that waits, was stopped or has ended."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers import models as tokens

from core import paths
from core.errors import UserError
from core.extract import schema as schemas
from core.extract.dialects import studio
from core.jobs import store
from core.launchers import look
from core.launchers.finetune import FinetuneRequest
from core.launchers.look import LookRequest, LookResult
from core.operation import Silent
from tests.core.tiny_llama import TEMPLATE
from tests.ui.conftest import OpenPage, texts
from ui.parts import pickers, train_chart, train_resume, train_runs
from ui.parts.train_data import EXAMPLE

HOSTILE = "<img src=x onerror=alert(1)> **bold** [link](http://x)"


@pytest.fixture
def tiny(workspace: Path) -> Path:
    return lay_out_llama(paths.models() / "tiny")


def lay_out_llama(folder: Path) -> Path:
    """A LLaMA's config, weights and byte-level tokenizer: enough to plan and to tokenize, made without torch."""
    hidden, inner, alphabet = 64, 128, sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "</s>": 1} | {letter: place + 2 for place, letter in enumerate(alphabet)}
    shapes = {"model.embed_tokens.weight": (len(vocabulary), hidden), "model.norm.weight": (hidden,)}
    for layer in range(2):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{name}_proj.weight": (hidden, hidden) for name in "qkvo"}
        shapes |= {f"{at}.mlp.{name}_proj.weight": (inner, hidden) for name in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (hidden, inner), f"{at}.input_layernorm.weight": (hidden,)}
    folder.mkdir(parents=True)
    save_file({name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, folder / "model.safetensors")
    config = {"model_type": "llama", "hidden_size": hidden, "vocab_size": len(vocabulary)}
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 256}))
    tokenizer = Tokenizer(tokens.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told | {"chat_template": TEMPLATE}))
    return folder


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten good rows, one of them twice, one without an answer, one that is not JSON."""
    file = tmp_path / "rows.jsonl"
    good = [json.dumps({"instruction": f"Say {number}.", "output": f"{number} 号"}) for number in range(10)]
    file.write_text("\n".join([*good, good[3], '{"instruction": "Why?", "output": " "}', "{broken"]), encoding="utf-8")
    return file


def looked(request: LookRequest) -> LookResult:
    return look.run(request, Silent())


# --- what the model will see ------------------------------------------------------------------------


def test_a_look_shows_each_sample_as_it_is_learned(tiny: Path, rows: Path) -> None:
    seen = looked(LookRequest(base="tiny", data=(rows,), validation_share=0))
    first = seen.samples[0]
    assert "".join(text for text, _ in first.pieces) == "<|user|>Say 0.\n<|assistant|>0 号</s>"
    assert "".join(text for text, learned in first.pieces if learned) == "0 号</s>"
    assert ("号", True) in first.pieces, "three tokens that only together are a character are one piece"
    assert first.learned < first.tokens == sum(len(text.encode()) for text, _ in first.pieces) - len("</s>") + 1


def test_a_look_names_refused_rows_and_duplicates_by_their_lines(tiny: Path, rows: Path) -> None:
    seen = looked(LookRequest(base="tiny", data=(rows,), validation_share=0))
    assert (seen.rows, seen.trained, seen.whole) == (13, 11, True)
    assert [one.where for one in seen.refused] == ["rows.jsonl:12", "rows.jsonl:13"]
    assert seen.duplicates == (("rows.jsonl:11", "rows.jsonl:4"),)


def test_validation_rows_that_are_trained_on_are_leaks(tiny: Path, rows: Path, tmp_path: Path) -> None:
    held_out = tmp_path / "held-out.jsonl"
    held_out.write_text(
        '{"instruction": "Say 2.", "output": "otherwise"}\n{"instruction": "Say 99.", "output": "99"}\n'
    )
    seen = looked(LookRequest(base="tiny", data=(rows,), validation=(held_out,)))
    assert seen.leaks == (("held-out.jsonl:1", "rows.jsonl:3"),)
    assert seen.validated == 1


def test_a_large_file_is_looked_at_up_to_a_row(tiny: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    large.write_text("".join(f'{{"instruction": "Say {n}.", "output": "{n}"}}\n' for n in range(300)))
    seen = looked(LookRequest(base="tiny", data=(large,), most=50, shown=3))
    assert (seen.rows, seen.whole, len(seen.samples)) == (50, False, 3)


def test_a_base_without_a_tokenizer_is_said(tiny: Path, rows: Path) -> None:
    for file in tiny.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(Exception, match=r"looked at|tokenizer"):
        looked(LookRequest(base="tiny", data=(rows,)))


def test_the_example_is_asked_as_extract_asks() -> None:
    """Its prompts are the studio dialect's, byte for byte: what is learned from it helps Extract."""
    schema = next(one for one in schemas.ready_made() if one.name == "people-and-organisations-en")
    told = [json.loads(line) for line in EXAMPLE.read_text(encoding="utf-8").splitlines()]
    assert len(told) == 30
    for row in told:
        text = re.search(r"\nText: (.*)\nAnswer:\n$", row["prompt"])
        assert text and row["prompt"] == studio.prompt("re", schema, text[1])
        for line in row["completion"].splitlines():
            spans = [] if line == "none" else re.split(r" \|\|? ", line.partition(": ")[2])
            assert all(span in text[1] for span in spans)


# --- the page ---------------------------------------------------------------------------------------


def with_example(open_page: OpenPage) -> AppTest:
    page = open_page("train")
    page.button(key="train.example").click().run()
    assert not page.exception, page.exception
    return page


def primary(page: AppTest) -> list[str]:
    return [button.key for button in page.button if button.proto.type == "primary"]


def test_without_a_model_it_offers_the_starter(open_page: OpenPage, language: str) -> None:
    page = open_page("train")
    assert {"en": "the starter brings one", "zh": "入门模型自带一份"}[language] in texts(page)
    assert primary(page) == ["starter.get"]
    assert page.button(key="train.start").disabled


def test_the_example_is_one_click_from_the_start(open_page: OpenPage, language: str, tiny: Path) -> None:
    page = with_example(open_page)
    assert primary(page) == ["train.start"]
    assert {"en": "Memory: needs", "zh": "内存"}[language] in texts(page)
    name = next(field for field in page.text_input if str(field.key).startswith("train.name"))
    assert name.value == "train_example-lora"


def test_every_method_says_what_it_needs_or_why_not(
    open_page: OpenPage, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    page = with_example(open_page)
    method = page.radio(key="train.preset")
    captions = list(method.proto.captions)
    assert sum("of memory" in caption for caption in captions) == 3
    assert any("bitsandbytes is not installed" in caption for caption in captions)
    method.set_value("qlora").run()
    assert page.button(key="train.start").disabled
    assert "pip install bitsandbytes" in texts(page)


def test_a_learning_rate_is_shown_with_its_digits(open_page: OpenPage, tiny: Path) -> None:
    page = with_example(open_page)
    page.radio(key="train.preset").set_value("full").run()
    rate = next(field for field in page.number_input if field.key.endswith(".learning_rate"))
    assert (rate.value, rate.proto.format) == (2e-5, "%g")


def test_a_wrong_setting_is_named_and_nothing_starts(open_page: OpenPage, tiny: Path) -> None:
    page = with_example(open_page)
    length = next(field for field in page.number_input if field.key.endswith(".max_length"))
    length.set_value(4096).run()
    assert page.button(key="train.start").disabled
    assert "more than this model's context of 256" in texts(page)


def test_rows_of_strangers_are_shown_as_they_are(
    open_page: OpenPage, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "<b>rows.jsonl"
    told = [{"instruction": HOSTILE, "output": HOSTILE}] * 2 + [{"instruction": "x", "output": ""}]
    file.write_text("".join(json.dumps(row) + "\n" for row in told))
    page = open_page("train")
    page.text_input(key="train.data.path").set_value(str(file)).run()
    page.button(key="train.look").click().run()
    (job,) = store.all_jobs()
    assert store.wait(job.id, 60).state == "done"
    page.run()
    assert not page.exception, page.exception
    said = texts(page)
    assert "**2** samples to train on" in said or "**1** samples to train on" in said
    assert "<b>rows" not in said.replace("\\<b\\>rows", "")


# --- trainings --------------------------------------------------------------------------------------


@pytest.fixture
def ended(workspace: Path, tiny: Path, rows: Path) -> Path:
    """A training as its process leaves it (tests/train show that it does), begun from the command line."""
    out = train_runs.folder() / "sayings"
    (out / "checkpoint-20").mkdir(parents=True)
    (out / "checkpoint-20" / "complete.json").write_text("{}")
    request = FinetuneRequest(base=str(tiny), data=(rows,), out=out, max_steps=30, precision="fp32", max_length=128)
    (out / "request.json").write_text(request.model_dump_json())
    lines = [
        {"step": step, "total_steps": 30, "loss": 5 - step / 10, "learning_rate": 1e-4, "memory": 10**9, "seconds": 1}
        for step in range(1, 31)
    ]
    lines.append({"step": 30, "eval_loss": 2.5})
    (out / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 31, "lo')
    return out


def with_result(out: Path, word: str, low: float, high: float) -> None:
    verdict = {"before": 4.0, "after": 2.5, "low": low, "high": high, "samples": 12, "word": word}
    reasons = [{"where": "a:1", "why": UserError("no", remedy="none").to_dict()}]
    data = {"rows": 13, "trained": 11, "validated": 12, "doubles": 1, "leaks": 0, "refused": 2, "reasons": reasons}
    (out / "result.json").write_text(json.dumps({"steps": 30, "tokens": 999, "verdict": verdict, "data": data}))


@pytest.mark.parametrize(
    ("word", "english", "chinese"),
    [
        ("better", "Better than before", "比训练前更好"),
        ("worse", "Worse than before", "比训练前更差"),
        ("cannot tell", "Cannot tell whether it is better", "看不出是否变好"),
    ],
)
def test_a_verdict_comes_with_its_interval(
    open_page: OpenPage, language: str, ended: Path, word: str, english: str, chinese: str
) -> None:
    with_result(ended, word, -1.75, -1.25)
    said = texts(open_page("train", training="sayings"))
    assert {"en": english, "zh": chinese}[language] in said
    assert "4.000 → 2.500" in said and "-1.750" in said and "-1.250" in said


def test_a_finished_training_leads_to_a_model(open_page: OpenPage, ended: Path) -> None:
    with_result(ended, "better", -1.75, -1.25)
    assert primary(open_page("train", training="sayings")) == ["train.merge"]
    lay_out_llama(paths.models() / "sayings" / "hf")
    page = open_page("train", training="sayings")
    assert primary(page) == ["train.export"]
    gguf = paths.models() / "sayings" / "sayings-Q8_0.gguf"
    gguf.write_bytes(b"GGUF")
    page = open_page("train", training="sayings")
    assert primary(page) == ["train.chat"]
    assert page.button(key="train.extract")


def test_an_adapter_can_be_tried_before_it_is_merged(open_page: OpenPage, ended: Path) -> None:
    with_result(ended, "better", -1.75, -1.25)
    (ended / "adapter_config.json").write_text('{"base_model_name_or_path": "tiny"}')
    (ended / "adapter_model.safetensors").write_bytes(b"")
    page = open_page("train", training="sayings")
    assert page.button(key="train.chat") and page.button(key="train.extract")
    assert str(ended.resolve()) in [*pickers.model_titles()]


def test_one_that_was_stopped_goes_on_from_a_checkpoint_and_shows_what_is_different(
    open_page: OpenPage, ended: Path
) -> None:
    page = open_page("train", training="sayings")
    assert primary(page) == ["train.resume.sayings.start"]
    assert "With the settings it had" in texts(page)
    page.toggle(key="train.resume.sayings.change").set_value(True).run()
    steps = next(field for field in page.number_input if field.key.endswith(".max_steps"))
    steps.set_value(60).run()
    assert not page.exception, page.exception
    (table,) = page.table
    assert table.value.astype(str).to_numpy().tolist() == [["Max steps", "30", "60"]]


def test_what_may_change_without_another_model_is_no_difference(ended: Path, tiny: Path, rows: Path) -> None:
    before = json.loads((ended / "request.json").read_text())
    same = FinetuneRequest.model_validate(before | {"resume": "checkpoint-20", "save_every": 7})
    assert train_resume.differences(before, same) == []
    other = same.model_copy(update={"learning_rate": 1e-5})
    assert train_resume.differences(before, other) == [("Learning rate", "0\\.0003", "1e\\-05")]


def test_the_second_of_two_trainings_says_that_it_waits(
    open_page: OpenPage, language: str, workspace: Path, tiny: Path, rows: Path
) -> None:
    made = []
    with FileLock(workspace / "training.lock"):  # somebody trains
        for name in ("first", "second"):
            request = FinetuneRequest(base="tiny", data=(rows,), out=train_runs.folder() / name, max_length=128)
            made.append(store.submit(request))
        page = open_page("train", training="second")
        assert {"en": "Another training, “first”", "zh": "另一个训练“first”"}[language] in texts(page)
        page = open_page("train")
        assert {"en": "running or waiting", "zh": "正在进行或等待"}[language] in texts(with_example(open_page))
        for job in made:
            store.cancel(job.id)
        assert {store.wait(job.id, 60).state for job in made} == {"cancelled"}


def test_torn_lines_and_numbers_that_are_none_are_passed_over(ended: Path) -> None:
    with (ended / "metrics.jsonl").open("a") as file:
        file.write('\n{"step": 32, "loss": NaN}\n{"log": "a word"}\n[1]\n')
    series, last = train_runs.metrics(ended)
    assert len(series["loss"]) == 30 and series["eval_loss"] == [(30.0, 2.5)]
    time.sleep(0.01)
    with (ended / "metrics.jsonl").open("a") as file:
        file.write('{"step": 33, "loss": 1.5}\n')
    series, last = train_runs.metrics(ended)
    assert series["loss"][-1] == (33.0, 1.5) and last["step"] == 33


def test_long_curves_are_thinned_and_smoothed() -> None:
    points = [(float(step), 2.0 + (step % 2)) for step in range(1, 10_001)]
    spec = train_chart.losses({"loss": points, "eval_loss": [(5000.0, 2.0)]})
    assert max(len(line["data"]) for line in spec["series"]) < 1000
    assert [line["showSymbol"] for line in spec["series"]] == [False, False, True]
    assert train_chart.smoothed([(1.0, 3.0), (2.0, 3.0)]) == [(1.0, 3.0), (2.0, 3.0)]


def test_a_training_and_its_model_share_a_free_name(workspace: Path) -> None:
    assert train_runs.new_name("my rows!") == "my-rows"
    (paths.models() / "my-rows").mkdir()
    assert train_runs.new_name("my rows!") == "my-rows-2"
    (train_runs.folder() / "my-rows-2").mkdir()
    assert train_runs.new_name("my rows!") == "my-rows-3"
    assert train_runs.new_name("../..") == "training"
