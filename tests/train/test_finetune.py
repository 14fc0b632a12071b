"""Trainings of tiny real models from file to adapter: what is left, what is said, and what stops them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core import models
from core.errors import UserError
from core.launchers.contract import STOP
from core.launchers.finetune import FinetuneRequest
from tests.train.conftest import ledger, losses, metrics, rows, written
from train import checkpoints, finetune, talks

Make = Callable[..., FinetuneRequest]
Train = Callable[[FinetuneRequest], Path]


def result(out: Path) -> dict[str, Any]:
    return json.loads((out / "result.json").read_text())


@pytest.mark.parametrize(
    ("kind", "method"), [("llama", "lora"), ("qwen2", "full"), ("falcon", "lora"), ("mamba", "lora"), ("bloom", "lora")]
)
def test_a_training_leaves_a_model_that_says_what_was_trained(
    kind: str, method: str, train: Train, request_for: Make
) -> None:
    out = train(request_for(kind, method=method, validation_share=0.25, epochs=4, batch=16))
    told = result(out)
    assert told["reloaded_equal"] is True
    assert told["form"] == "chat"
    assert told["verdict"]["word"] == "better"
    assert told["verdict"]["samples"] == told["data"]["validated"] > 4
    found = losses(out)
    assert list(found) == list(range(1, told["steps"] + 1)) and found[told["steps"]] < found[1]
    last = metrics(out)[-1]
    assert {"learning_rate", "grad_norm", "tokens_per_second", "memory", "total_steps"} <= last.keys()
    whole = [number for step in ledger(out) for number in step]
    count = told["data"]["trained"]
    assert [sorted(whole[start : start + count]) for start in range(0, 4 * count, count)] == [list(range(count))] * 4
    card = models.read_card(out)
    assert card.prompt_form == "chat" and card.source.startswith("trained from ")
    readme = (out / "README.md").read_text()
    assert "**better**" in readme and f"{told['steps']} steps of 16" in readme
    weights = "model.safetensors" if method == "full" else "adapter_model.safetensors"
    assert (out / weights).is_file() and (out / "tokenizer.json").is_file()


def test_the_saved_adapter_gives_the_trained_losses_without_our_trainer(
    train: Train, request_for: Make, tmp_path: Path
) -> None:
    """The last validation loss, computed again the plain way: base, adapter, one sample at a time."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    request = request_for(validation=(written(tmp_path / "v.jsonl", rows(9, start=500)),), epochs=2)
    out = train(request)
    tokenizer = AutoTokenizer.from_pretrained(out)
    model: Any = AutoModelForCausalLM.from_pretrained(request.base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, str(out)).eval()
    nats = count = 0.0
    for row in rows(9, start=500):
        asked = [{"role": "user", "content": f"{row['instruction']}\n\n{row['input']}"}]
        prompt = tokenizer.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)
        start = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        answer = [*tokenizer(row["output"], add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        ids = torch.tensor([start + answer])
        with torch.no_grad():
            logits = model(ids).logits[0, len(start) - 1 : -1]
        nats += float(torch.nn.functional.cross_entropy(logits, ids[0, len(start) :], reduction="sum"))
        count += len(answer)
    assert result(out)["eval_loss"] == pytest.approx(nats / count, rel=1e-4)


def test_training_on_other_answers_makes_the_first_ones_worse(train: Train, request_for: Make, tmp_path: Path) -> None:
    good = request_for(epochs=8, validation_share=0)
    train(good)
    wrong = written(tmp_path / "w.jsonl", [{**row, "output": "zz qq zz"} for row in rows(40)])
    held = written(tmp_path / "v.jsonl", rows(20, start=300))
    out = train(request_for(data=(wrong,), validation=(held,), adapter=good.out, out=tmp_path / "worse", epochs=4))
    assert result(out)["verdict"]["word"] == "worse"
    assert "**worse**" in (out / "README.md").read_text()


def test_without_a_validation_part_nothing_is_claimed(train: Train, request_for: Make) -> None:
    out = train(request_for(validation_share=0))
    assert result(out)["verdict"] is None
    assert "nothing is known about how good it is" in (out / "README.md").read_text()


def test_packed_steps_learn_what_single_samples_do(train: Train, request_for: Make, tmp_path: Path) -> None:
    """Same batches, same order: packing and shared starts change the losses by rounding only."""
    found = []
    for name, settings in {
        "packed": {"packing": True, "share_prefix": False},
        "single": {"packing": False, "micro_batch_tokens": 64},
    }.items():
        found.append(losses(train(request_for(out=tmp_path / name, validation_share=0, dropout=0.0, **settings))))
    assert found[0].keys() == found[1].keys()
    np.testing.assert_allclose(list(found[0].values()), list(found[1].values()), rtol=2e-3)


def test_validation_is_measured_on_the_way(train: Train, request_for: Make) -> None:
    out = train(request_for(validation_share=0.25, eval_every=2))
    assert [row["step"] for row in metrics(out) if "eval_loss" in row][:2] == [2, 4]


def test_tensorboard_reads_what_a_training_wrote(train: Train, request_for: Make) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    out = train(request_for(validation_share=0.25, eval_every=2))
    (folder,) = {file.parent for file in (out / "runs").rglob("events.out.tfevents.*")}
    events = accumulator.EventAccumulator(str(folder)).Reload()
    told = {one.step: one.value for one in events.Scalars("train/loss")}
    assert told == pytest.approx(losses(out))
    assert {"train/learning_rate", "train/tokens_per_second", "train/memory", "eval/loss"} <= set(
        events.Tags()["scalars"]
    )


def test_fp16_on_a_processor_is_told(train: Train, request_for: Make) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a card here")
    with pytest.raises(UserError, match="fp16"):
        train(request_for(precision="fp16"))


def test_layers_that_are_not_there_are_told_with_those_that_are(train: Train, request_for: Make) -> None:
    with pytest.raises(UserError, match="no linear layers named nose_proj") as caught:
        train(request_for(target_modules=("q_proj", "nose_proj")))
    assert caught.value.to_dict()["values"]["known"].startswith("q_proj, k_proj")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("llama", {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}),
        ("falcon", {"query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"}),
    ],
)
def test_all_linear_layers_but_the_head_get_adapters(kind: str, names: set[str], base: Callable[..., Path]) -> None:
    from train import adapters

    model = adapters.load(base(kind), method="lora", precision="fp32", checkpointing=False, device="cpu")
    assert set(adapters.targets(model)) == names


def test_a_length_beyond_the_context_is_told(train: Train, request_for: Make) -> None:
    with pytest.raises(UserError, match="1024 tokens is more than this model's context of 512"):
        train(request_for(max_length=1024))


@pytest.mark.parametrize("other", ["qwen2", "wider", "deeper", "nothing"])
def test_an_adapter_of_another_base_is_refused(
    other: str, train: Train, request_for: Make, base: Callable[..., Path], tmp_path: Path
) -> None:
    first = request_for(max_steps=1, validation_share=0, out=tmp_path / "first", target_modules=("q_proj", "up_proj"))
    train(first)
    settings = {"wider": {"hidden_size": 64}, "deeper": {"num_hidden_layers": 3}}.get(other, {})
    folder = base("falcon" if other == "qwen2" else "llama", **settings)
    adapter = tmp_path if other == "nothing" else first.out
    with pytest.raises(UserError, match="does not fit this base"):
        train(request_for(base=str(folder), adapter=adapter))


def test_a_training_goes_on_from_an_adapter(train: Train, request_for: Make, tmp_path: Path) -> None:
    first = train(request_for(epochs=4, validation_share=0, out=tmp_path / "first"))
    again = train(request_for(validation_share=0, adapter=first, out=tmp_path / "again"))
    assert losses(again)[1] < losses(first)[1] - 0.3


# What stops a training


def poisoned(base: Callable[..., Path], tokenizer: Any, tmp_path: Path) -> Path:
    """A base that has no number for one token, “%”."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "poisoned"
    folder.mkdir()
    for file in base("llama").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    (token,) = tokenizer("%", add_special_tokens=False)["input_ids"]
    weights["model.embed_tokens.weight"][token] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_checkpoint(
    train: Train, request_for: Make, base: Callable[..., Path], tokenizer: Any, tmp_path: Path
) -> None:
    data = rows(40)
    rest: dict[str, Any] = {"validation_share": 0, "save_every": 1, "keep": 9, "share_prefix": False}
    request = request_for(data=(written(tmp_path / "r.jsonl", data),), **rest)
    train(request)
    late = ledger(request.out)[3][0]  # a sample of step 4
    data[late]["input"] += "%"
    folder = poisoned(base, tokenizer, tmp_path)
    bad = request_for(base=str(folder), data=(written(tmp_path / "r.jsonl", data),), out=tmp_path / "bad", **rest)
    with pytest.raises(UserError, match=r"The loss was no number at step (\d)") as caught:
        train(bad)
    step = int(caught.value.to_dict()["values"]["step"])
    assert step == 4
    whole = [checkpoints.step_of(folder) for folder in checkpoints.whole_in(bad.out)]
    assert whole == [1, 2]  # the one before gave the weights that give none: it is not kept
    assert not (bad.out / "result.json").exists()
    assert "learning rate" in caught.value.remedy


def test_weights_that_are_no_numbers_stop_at_once(
    train: Train, request_for: Make, base: Callable[..., Path], tokenizer: Any, tmp_path: Path
) -> None:
    folder = poisoned(base, tokenizer, tmp_path)
    data = written(tmp_path / "r.jsonl", [{**row, "output": row["output"] + "%"} for row in rows(20)])
    with pytest.raises(UserError, match="at step 1"):
        train(request_for(base=str(folder), data=(data,), validation_share=0))
    assert not checkpoints.all_in(tmp_path / "out")


@pytest.fixture
def disk(tmp_path: Path) -> Any:
    """`disk(bytes)`: a folder that holds no more; of a real file system."""
    import subprocess

    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("mounting needs root")
        return folder

    yield mount
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def used(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def test_a_disk_that_fills_up_leaves_the_last_good_checkpoint_and_a_clear_word(
    train: Train, request_for: Make, disk: Any, tmp_path: Path
) -> None:
    import subprocess

    settings: dict[str, Any] = {"validation_share": 0, "keep": 1, "epochs": 2, "rank": 16}
    train(request_for(out=tmp_path / "whole", **settings))
    one = used(checkpoints.whole_in(tmp_path / "whole")[-1])
    folder = disk(int(one * 1.5) + used(tmp_path / "whole" / "data"))
    request = request_for(out=folder / "out", **settings)
    with pytest.raises(UserError, match=r"checkpoint-4 could not be written|is full") as caught:
        train(request)
    assert "room" in caught.value.remedy.lower()
    assert [kept.name for kept in checkpoints.whole_in(request.out)] == ["checkpoint-2"]
    subprocess.run(["mount", "-o", f"remount,size={one * 20}", str(folder)], check=True)
    train(request.model_copy(update={"resume": "last"}))
    assert losses(request.out) == losses(tmp_path / "whole")
    assert ledger(request.out) == ledger(tmp_path / "whole")


# Going on, in this process; tests/train/test_finetune_kill.py kills real ones


class Paused:
    """Sends this process a TERM after a step, as a person's pause does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int, *, by_file: Path | None = None) -> None:
        from train.callbacks import GiveBackMemory

        def pause(_self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == step:
                if by_file:
                    (by_file / STOP).touch()
                else:
                    os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(GiveBackMemory, "on_step_begin", pause, raising=False)


@pytest.mark.parametrize("by_file", [False, True], ids=["TERM", "the file stop"])
def test_a_pause_ends_with_a_checkpoint_at_the_steps_end(
    by_file: bool, train: Train, request_for: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = train(request_for(out=tmp_path / "whole", save_every=100, dropout=0.2))
    request = request_for(save_every=100, dropout=0.2)
    with monkeypatch.context() as patch:
        Paused(patch, 2, by_file=request.out if by_file else None)
        train(request)
    assert not (request.out / "result.json").exists()
    assert [kept.name for kept in checkpoints.whole_in(request.out)] == ["checkpoint-3"]
    (request.out / STOP).unlink(missing_ok=True)
    train(request.model_copy(update={"resume": "last"}))
    assert losses(request.out) == losses(whole)
    assert ledger(request.out) == ledger(whole)
    assert result(request.out)["tokens"] == result(whole)["tokens"]
    assert result(request.out)["verdict"] == result(whole)["verdict"]


def test_going_on_from_an_earlier_checkpoint_forgets_what_came_after(train: Train, request_for: Make) -> None:
    request = request_for(keep=9, validation_share=0)
    train(request)
    before = losses(request.out)
    assert [kept.name for kept in checkpoints.whole_in(request.out)] == ["checkpoint-2", "checkpoint-4", "checkpoint-5"]
    train(request.model_copy(update={"resume": "checkpoint-2", "max_steps": 3}))
    assert list(losses(request.out)) == [1, 2, 3]
    assert [kept.name for kept in checkpoints.whole_in(request.out)] == ["checkpoint-2", "checkpoint-3"]
    assert {step: before[step] for step in (1, 2, 3)} == losses(request.out)


def test_settings_that_were_changed_take_effect_when_going_on(train: Train, request_for: Make, tmp_path: Path) -> None:
    request = request_for(schedule="constant", warmup=0.0, validation_share=0, keep=9)
    train(request)
    changed = request.model_copy(update={"resume": "checkpoint-2", "learning_rate": 3e-3, "weight_decay": 0.1})
    train(changed)
    rates = {row["step"]: row["learning_rate"] for row in metrics(request.out)}
    assert rates == {1: 1e-2, 2: 1e-2, 3: 3e-3, 4: 3e-3, 5: 3e-3}
    state = torch.load(request.out / "checkpoint-5" / "optimizer.pt", weights_only=True)
    assert max(group["weight_decay"] for group in state["param_groups"]) == 0.1


def test_torn_checkpoints_are_passed_over_and_taken_away(train: Train, request_for: Make) -> None:
    request = request_for(keep=9, validation_share=0)
    train(request)
    before = losses(request.out)
    (request.out / "checkpoint-5" / "complete.json").unlink()
    (request.out / "checkpoint-4" / "optimizer.pt").write_bytes(b"torn")
    (request.out / "checkpoint-old").mkdir()
    with pytest.raises(UserError, match="checkpoint-5 is not there, or not whole") as caught:
        train(request.model_copy(update={"resume": "checkpoint-5"}))
    assert "checkpoint-2" in str(caught.value.to_dict()) and "checkpoint-4" not in str(caught.value.to_dict())
    train(request.model_copy(update={"resume": "last"}))
    assert losses(request.out) == before
    assert (request.out / "checkpoint-old").is_dir()


def test_the_last_checkpoint_kept_is_whole_before_older_ones_go(
    train: Train, request_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(keep=1, validation_share=0)
    seen: list[list[str]] = []
    complete = checkpoints.complete

    def look(folder: Path) -> None:
        seen.append([kept.name for kept in checkpoints.whole_in(request.out)])
        complete(folder)

    monkeypatch.setattr(checkpoints, "complete", look)
    train(request)
    assert seen == [[], ["checkpoint-2"], ["checkpoint-4"]]
    assert [kept.name for kept in checkpoints.all_in(request.out)] == ["checkpoint-5"]


def test_a_finished_result_does_not_stand_while_the_training_goes_again(
    train: Train, request_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(validation_share=0)
    train(request)
    Paused(monkeypatch, 6)
    train(request.model_copy(update={"resume": "last", "epochs": 2.0}))
    assert not (request.out / "result.json").exists()


def test_bad_data_and_bases_are_refused_before_anything_is_computed(
    train: Train, request_for: Make, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="no known format"):
        train(request_for(data=(written(tmp_path / "o.jsonl", [{"a": "b"}]),)))
    with pytest.raises(UserError):
        train(request_for(base=str(tmp_path / "nowhere")))
    assert talks.files([tmp_path / "o.jsonl"])


def test_a_small_training_is_not_compiled(request_for: Make) -> None:
    request = request_for(compile="auto")
    plan: Any = type("P", (), {"steps": 5, "passes": 2})()
    assert not finetune.compiles(request, "cpu", plan, None)
