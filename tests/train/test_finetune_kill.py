"""Real training processes, killed and started again, alone and as two ranks: not a bit and not a sample differs."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from core.launchers.contract import STOP
from core.launchers.finetune import FinetuneRequest
from tests.train.conftest import finished, ledger, losses, metrics, rows, start, written
from train import checkpoints

Make = Callable[..., FinetuneRequest]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="signals")


@pytest.fixture
def long(request_for: Make, tmp_path: Path) -> FinetuneRequest:
    """20 steps with dropout, a validation part and a checkpoint every third step."""
    data = written(tmp_path / "long.jsonl", rows(160))
    return request_for(data=(data,), save_every=3, eval_every=5, dropout=0.1, validation_share=0.05, max_steps=20)


def wait_for(process: subprocess.Popen, out: Path, step: int) -> None:
    """Until the step is told; the training may end first."""
    until = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < until:
        try:
            if any(row.get("step", 0) >= step for row in metrics(out)):
                return
        except (FileNotFoundError, ValueError):  # not begun, or a line half written
            pass
        time.sleep(0.02)


def kill(process: subprocess.Popen) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def same(out: Path, whole: Path) -> None:
    assert losses(out) == losses(whole)
    assert ledger(out) == ledger(whole)
    evaluated = [
        [(row["step"], row["eval_loss"]) for row in metrics(one) if "eval_loss" in row] for one in (out, whole)
    ]
    assert evaluated[0] == evaluated[1]
    weights = [(one / "adapter_model.safetensors").read_bytes() for one in (out, whole)]
    assert weights[0] == weights[1]
    told = [json.loads((one / "result.json").read_text()) for one in (out, whole)]
    assert told[0] == told[1]


def killed_and_resumed(request: FinetuneRequest, tmp_path: Path, kills: int, seed: int) -> None:
    whole = request.model_copy(update={"out": tmp_path / "whole"})
    finished(start(whole), whole.out)
    chance = random.Random(seed)
    resumed = request.model_copy(update={"resume": "last"})
    for _ in range(kills):
        process = start(resumed)
        wait_for(process, request.out, chance.randint(1, 19))
        time.sleep(chance.random() * 0.3)  # also in the middle of a step or a checkpoint
        kill(process)
    finished(start(resumed), request.out)
    same(request.out, whole.out)


@LINUX
def test_a_killed_training_goes_on_as_if_it_had_never_been_killed(long: FinetuneRequest, tmp_path: Path) -> None:
    killed_and_resumed(long, tmp_path, kills=2, seed=1)


@LINUX
@pytest.mark.soak
def test_a_training_killed_twenty_times(long: FinetuneRequest, tmp_path: Path) -> None:
    killed_and_resumed(long, tmp_path, kills=20, seed=2)


@LINUX
@pytest.mark.soak
def test_compiled_layers_go_on_to_the_bit_too(long: FinetuneRequest, tmp_path: Path) -> None:
    killed_and_resumed(long.model_copy(update={"compile": "on"}), tmp_path, kills=2, seed=3)


@LINUX
@pytest.mark.soak
def test_in_bf16_too(long: FinetuneRequest, tmp_path: Path) -> None:
    killed_and_resumed(long.model_copy(update={"precision": "bf16"}), tmp_path, kills=2, seed=4)


@LINUX
def test_a_user_error_is_a_line_for_the_one_who_started_it(request_for: Make) -> None:
    request = request_for(target_modules=("nose_proj",))
    said = finished(start(request), request.out, code=1)
    (line,) = [line for line in said.splitlines() if line.startswith("UserError: ")]
    assert "nose_proj" in json.dumps(json.loads(line.removeprefix("UserError: ")))


@LINUX
def test_two_ranks_learn_what_one_does_and_tell_it_once(long: FinetuneRequest, tmp_path: Path) -> None:
    """The same batches, halved between them: losses and counts agree up to rounding."""
    settings = {"dropout": 0.0, "max_steps": 6, "micro_batch_tokens": 128}
    one = long.model_copy(update={**settings, "out": tmp_path / "one"})
    two = long.model_copy(update={**settings, "out": tmp_path / "two"})
    finished(start(one), one.out)
    finished(start(two, ranks=2), two.out)
    assert losses(one.out).keys() == losses(two.out).keys()
    np.testing.assert_allclose(list(losses(two.out).values()), list(losses(one.out).values()), rtol=2e-4)
    assert ledger(two.out) == ledger(one.out)
    told = [json.loads((out / "result.json").read_text()) for out in (one.out, two.out)]
    assert told[0]["tokens"] == told[1]["tokens"]
    assert told[0]["eval_loss"] == pytest.approx(told[1]["eval_loss"], rel=1e-3)


@LINUX
@pytest.mark.parametrize("how", [pytest.param("the file stop", marks=pytest.mark.soak), "TERM to one rank"])
def test_two_ranks_stop_at_the_same_step(how: str, long: FinetuneRequest, tmp_path: Path) -> None:
    import psutil

    request = long.model_copy(update={"max_steps": 400, "epochs": 100.0, "save_every": 1000})
    process = start(request, ranks=2, port=29641)
    try:
        wait_for(process, request.out, 3)
        if how == "the file stop":
            (request.out / STOP).touch()
        else:
            ranks = psutil.Process(process.pid).children(recursive=True)
            next(rank for rank in ranks if rank.environ().get("RANK") == "1").terminate()
        said = finished(process, request.out)
    finally:
        kill(process)
    assert "Stopped after step" in said
    (kept,) = checkpoints.whole_in(request.out)
    assert checkpoints.step_of(kept) == max(losses(request.out)) < 400
