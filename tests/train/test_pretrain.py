"""Pretraining by the real command: ZeRO-3 on two ranks, killed, gone on with, by one rank, by four."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.errors import UserError
from core.launchers.contract import STOP
from core.launchers.pretrain_request import PretrainRequest
from tests.conftest import PROJECT
from tests.core.tiny_llama import make_tiny_llama
from tests.train.pretrain_rows import corpus, metrics
from train import checkpoints, ledger, pretrain_data

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="signals")
DEEPSPEED = pytest.mark.skipif(not importlib.util.find_spec("deepspeed"), reason="requirements-train.txt")
STEPS = 12
ZERO = ["--zero", "3", "--launcher", "torchrun"]  # torchrun starts faster than DeepSpeed's own launcher


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny", context=64, hidden=32)


@pytest.fixture(scope="module")
def rows(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return corpus(base, tmp_path_factory.mktemp("corpus"), {"wiki": 130, "news": 70})


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(base: Path, rows: Path, tmp_path: Path) -> Start:
    """The real command, as a process."""

    def command(out: Path, *options: str) -> subprocess.Popen[str]:
        words = ["--base", str(base), "--corpus", str(rows), "--out", str(out), "--batch", "8", "--micro-batch", "2"]
        words += ["--max-steps", str(STEPS), "--learning-rate", "3e-3", "--warmup", "2", "--precision", "fp32"]
        words += ["--save-every", "3", "--eval-every", "6", "--sample-every", "6", "--sample-tokens", "8"]
        words += ["--gradient-checkpointing", "off", "--compile", "off", "--weights", "wiki=3", "news=1"]
        environment = {**os.environ, "KNOWLM_STUDIO_HOME": str(tmp_path / "workspace"), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            [sys.executable, "-m", "core", "train", "pretrain", *words, *options],
            cwd=PROJECT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip

    return command


def ended(process: subprocess.Popen[str], *, code: int = 0) -> str:
    said, _ = process.communicate(timeout=400)
    assert process.returncode == code, said[-4000:]
    return said


def kill_at(process: subprocess.Popen[str], out: Path, step: int) -> None:
    """SIGKILL to all its processes once the step is told."""
    import psutil

    until = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < until:
        if any(row.get("step", 0) >= step for row in metrics(out)):
            break
        time.sleep(0.02)
    assert process.poll() in (None, 0), "it died by itself"
    below = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    for one in below:
        try:
            one.kill()
        except psutil.Error:
            continue
    process.communicate()


def losses(out: Path) -> list[tuple[int, float, float]]:
    """(step, loss, gradient's norm); fails where a step is told twice."""
    told = [(row["step"], row["loss"], row["grad_norm"]) for row in metrics(out) if "loss" in row]
    assert [one[0] for one in told] == list(range(1, len(told) + 1))
    return told


def account(out: Path) -> ledger.Account:
    """Of the ledger, against the order that the settings give."""
    from transformers import AutoTokenizer

    request = PretrainRequest.model_validate_json((out / "request.json").read_text())
    data = pretrain_data.opened(request, AutoTokenizer.from_pretrained(request.base))
    plan = pretrain_data.Plan(data, request.batch, request.micro_batch, 1, request.epochs, request.max_steps)
    return ledger.check(ledger.read(out, request.batch), plan.step)


@LINUX
@DEEPSPEED
def test_zero_3_on_two_ranks_killed_gone_on_with_and_gone_on_with_by_one(start: Start, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    said = ended(start(whole, *ZERO, "--processes", "2"))
    assert "perplexity: news" in said
    told = losses(whole)
    assert told[-1][1] < told[0][1] - 0.3  # it learns
    assert account(whole).wrong is None

    kill_at(start(killed, *ZERO, "--processes", "2"), killed, 8)
    ended(start(killed, *ZERO, "--processes", "2", "--resume"))
    assert losses(killed) == told  # to the bit
    assert (killed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert account(killed) == account(whole)

    one = back_to(killed, tmp_path / "one", 9)
    said = ended(start(one, *ZERO, "--processes", "1", "--resume"))
    assert "converting it for 1" in said
    np.testing.assert_allclose([row[1:] for row in losses(one)], [row[1:] for row in told], rtol=1e-5)
    found = account(one)
    assert (found.wrong, found.topologies, found.rows) == (None, (2, 1), STEPS * 8)


def back_to(out: Path, place: Path, step: int) -> Path:
    """A copy of a training as it was when that checkpoint was its newest."""
    import shutil

    shutil.copytree(out, place)
    (place / "result.json").unlink()
    for folder in place.glob("checkpoint-*"):
        if int(folder.name.rpartition("-")[2]) > step:
            shutil.rmtree(folder)
    settings = json.loads((place / "request.json").read_text())
    (place / "request.json").write_text(json.dumps(settings | {"out": str(place)}))
    return place


@LINUX
@DEEPSPEED
@pytest.mark.soak
@pytest.mark.parametrize("stage", ["1", "2", "3", "3 --offload"])
def test_from_two_ranks_to_one_to_four_each_row_is_seen_once(stage: str, start: Start, tmp_path: Path) -> None:
    zero = ["--zero", *stage.split(), "--launcher", "torchrun"]
    alone, out = tmp_path / "alone", tmp_path / "out"
    ended(start(alone))
    told = losses(alone)
    kill_at(start(out, *zero, "--processes", "2"), out, 4)
    kill_at(start(out, *zero, "--processes", "1", "--resume"), out, 8)
    ended(start(out, *zero, "--processes", "4", "--resume"))
    np.testing.assert_allclose([row[1:] for row in losses(out)], [row[1:] for row in told], rtol=1e-5)
    found = account(out)
    assert (found.wrong, found.topologies, found.rows) == (None, (2, 1, 4), STEPS * 8)


@LINUX
@DEEPSPEED
@pytest.mark.soak
def test_killed_again_and_again_it_still_learns_the_same(start: Start, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    ended(start(whole, *ZERO, "--processes", "2"))
    chance = random.Random(7)
    for _ in range(6):
        kill_at(start(killed, *ZERO, "--processes", "2"), killed, chance.randint(1, STEPS - 1))
    ended(start(killed, *ZERO, "--processes", "2"))
    assert losses(killed) == losses(whole)
    assert account(killed) == account(whole)


@LINUX
@DEEPSPEED
@pytest.mark.soak
def test_by_deepspeeds_own_launcher_too(start: Start, tmp_path: Path) -> None:
    ended(start(tmp_path / "alone"))
    ended(start(tmp_path / "two", "--zero", "2", "--processes", "2"))
    told, found = losses(tmp_path / "alone"), losses(tmp_path / "two")
    np.testing.assert_allclose([row[1:] for row in found], [row[1:] for row in told], rtol=1e-5)


@LINUX
@pytest.mark.soak
def test_two_machines_that_meet_at_a_rendezvous(start: Start, tmp_path: Path) -> None:
    """Two calls of the same command, as on two machines; without a shared disk each keeps its checkpoints."""
    meeting = ["--rendezvous", "127.0.0.1:29877", "--machines", "2", "--every-node", "--at-once"]
    outs = [tmp_path / "first" / "out", tmp_path / "second" / "out"]
    running = [start(out, *meeting) for out in outs]
    for process in running:
        ended(process)
    (main,) = [out for out in outs if (out / "metrics.jsonl").is_file()]
    ended(start(tmp_path / "alone"))
    told = losses(tmp_path / "alone")
    np.testing.assert_allclose([row[1:] for row in losses(main)], [row[1:] for row in told], rtol=1e-5)
    assert all((out / "checkpoint-12" / "complete.json").is_file() for out in outs)


@LINUX
@DEEPSPEED
@pytest.mark.soak
def test_two_machines_without_a_shared_disk_go_on_each_from_its_own_part(start: Start, tmp_path: Path) -> None:
    meeting = ["--rendezvous", "127.0.0.1:29879", "--machines", "2", "--every-node", "--at-once", "--zero", "2"]
    outs = [tmp_path / "first" / "out", tmp_path / "second" / "out"]

    def together(*options: str) -> list[subprocess.Popen[str]]:
        """One after the other: machines get their ranks by their names, and two of one name by their processes'."""
        import psutil

        first = start(outs[0], *meeting, *options)
        while first.poll() is None and not psutil.Process(first.pid).children():
            time.sleep(0.05)
        return [first, start(outs[1], *meeting, *options)]

    running = together()
    main = None
    while main is None:
        time.sleep(0.1)
        main = next((out for out in outs if any(row.get("step", 0) >= 7 for row in metrics(out))), None)
        assert all(process.poll() in (None, 0) for process in running)
    for process in running:
        kill_at(process, main, 7)
    for process in together("--resume"):
        ended(process)
    ended(start(tmp_path / "alone"))
    told = losses(tmp_path / "alone")
    np.testing.assert_allclose([row[1:] for row in losses(main)], [row[1:] for row in told], rtol=1e-5)
    assert account(main).topologies == (2,)
    for out in outs:
        (part,) = (out / "checkpoint-12" / "global_step12").glob("*_optim_states.pt")
        assert part.name.startswith("zero_pp_rank_")


@pytest.fixture
def made(base: Path, rows: Path, tmp_path: Path) -> Callable[..., PretrainRequest]:
    def request(**settings: Any) -> PretrainRequest:
        usual = {
            "base": str(base), "corpus": (rows,), "out": tmp_path / "out", "batch": 8, "micro_batch": 2,
            "max_steps": 4, "learning_rate": 3e-3, "warmup": 1, "precision": "fp32", "gradient_checkpointing": "off",
            "compile": "off", "save_every": 2, "eval_every": 0, "sample_every": 0,
        }  # fmt: skip
        return PretrainRequest.model_validate(usual | settings)

    return request


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Any:
    """In this process; signal handlers are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")

    def run(request: PretrainRequest) -> dict[str, Any]:
        from train import pretrain

        request.out.mkdir(parents=True, exist_ok=True)
        (request.out / "request.json").write_text(request.model_dump_json())
        pretrain.train(request)
        return json.loads((request.out / "result.json").read_text())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_new_weights_are_the_same_for_everybody_and_have_the_shape_asked_for(train: Any, made: Any) -> None:
    from safetensors.torch import load_file

    request = made(new_weights=True, shape=("num_hidden_layers=3",), shard_gb=0.00005)
    told = train(request)
    initial = request.out / "initial"
    index = json.loads((initial / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) > 2  # in shards
    assert any(".layers.2." in name for name in index) and not any(".layers.3." in name for name in index)
    made_of = {name: load_file(initial / file)[name] for name, file in index.items()}
    assert float(made_of["model.norm.weight"].min()) == 1
    assert 0.015 < float(made_of["model.layers.1.mlp.up_proj.weight"].std()) < 0.025
    one, other = (made_of[f"model.layers.{layer}.mlp.up_proj.weight"] for layer in (0, 1))
    assert not bool((one == other).all())
    assert told["steps"] == 4 and set(told["perplexity"]) == {"wiki", "news"}
    assert (request.out / "model.safetensors.index.json").is_file()  # the result in shards, too


def test_what_it_writes_changes_nothing_of_what_it_learns(train: Any, made: Any, tmp_path: Path) -> None:
    quiet, talking = made(out=tmp_path / "quiet"), made(out=tmp_path / "talking", sample_every=1, eval_every=1)
    train(quiet), train(talking)
    assert losses(quiet.out) == losses(talking.out)
    written = [json.loads(line) for line in (talking.out / "written.jsonl").read_text().splitlines()]
    assert {row["step"] for row in written} == {1, 2, 3, 4} and all(row["prompt"] for row in written)


def test_the_loss_is_that_of_each_document_alone(base: Path, rows: Path) -> None:
    """Packed samples don't see each other, and what is context or a sample's first token is not learned."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    request = PretrainRequest(base=str(base), corpus=(rows,), out=rows, batch=8)
    data = pretrain_data.opened(request, AutoTokenizer.from_pretrained(base))
    model = AutoModelForCausalLM.from_pretrained(base).eval()
    several = [number for number in range(len(data.rows)) if len(data.rows[number].ends) > 1][:3]

    def nats(*, apart: bool) -> torch.Tensor:
        inputs = pretrain_data.collate(several, data.rows, pad=1, micro=4, apart=apart)
        given = {name: inputs[name] for name in ("input_ids", "position_ids", "attention_mask") if name in inputs}
        with torch.no_grad():
            logits = model(**given).logits
        chosen = logits.reshape(-1, logits.shape[-1])[inputs["predicts"]]
        return torch.nn.functional.cross_entropy(chosen, inputs["targets"], reduction="none")

    learned = sum(int(data.rows[number].learned.sum()) for number in several)
    assert len(nats(apart=False)) == learned
    torch.testing.assert_close(nats(apart=False), nats(apart=True), rtol=1e-4, atol=1e-5)


def test_a_stop_leaves_a_checkpoint_to_go_on_from(train: Any, made: Any) -> None:
    request = made()
    request.out.mkdir(parents=True)
    (request.out / STOP).touch()
    with pytest.raises(FileNotFoundError):
        train(request)
    assert len(losses(request.out)) == 1
    (request.out / STOP).unlink()
    assert train(request.model_copy(update={"resume": "last"}))["steps"] == 4
    assert account(request.out).wrong is None


def test_a_corpus_of_another_tokenizer_is_refused(train: Any, made: Any, tmp_path: Path) -> None:
    from tests.train.pretrain_rows import renamed_vocabulary

    other = renamed_vocabulary(Path(made().base), tmp_path / "other")
    strange = corpus(other, tmp_path / "strange", {"wiki": 40})
    with pytest.raises(UserError, match="another tokenizer"):
        train(made(corpus=(strange,)))


def test_a_loss_that_is_no_number_stops_it_and_the_good_checkpoint_stays(
    train: Any, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    true, calls = torch.nn.functional.cross_entropy, []

    def entropy(*args: Any, **kwargs: Any) -> Any:
        """No number from the third step on: four passes a step."""
        calls.append(1)
        return true(*args, **kwargs) * (1.0 if len(calls) <= 8 else float("nan"))

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", entropy)
    request = made(save_every=1, validation_rows=0)
    with pytest.raises(UserError, match="no number at step 3"):
        train(request)
    assert [folder.name for folder in checkpoints.whole_in(request.out)] == ["checkpoint-1"]


def test_a_ledger_that_was_cut_is_noticed(train: Any, made: Any) -> None:
    request = made()
    train(request)
    kind = ledger.record(request.batch)
    assert account(request.out).rows == 32
    file = request.out / ledger.FILE
    held = np.fromfile(file, kind)
    held["row"][2, 0] = held["row"][1, 0]  # a row twice, another never
    held.tofile(file)
    assert account(request.out).wrong == 3
    file.write_bytes(held[:1].tobytes())
    for folder in request.out.glob("checkpoint-4"):
        (folder / "complete.json").unlink()
    with pytest.raises(UserError, match="knows 1 steps, but the checkpoint has 2"):
        train(request.model_copy(update={"resume": "last"}))
