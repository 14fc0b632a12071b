"""The real trainer through every launcher on this machine's processor: whatever starts it, it learns the same."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.core.tiny_llama import make_tiny_llama

pytestmark = [pytest.mark.soak, pytest.mark.skipif(sys.platform == "win32", reason="gloo between processes")]
ROWS = 48


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")


def train(base: Path, out: Path, *options: str) -> list[dict]:
    """The metrics of the real command."""
    rows = out.parent / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"instruction": f"Say {n}.", "output": f"{n} " * (n % 5 + 1)}) + "\n" for n in range(ROWS))
    )
    words = ["--base", str(base), "--data", str(rows), "--out", str(out), "--max-length", "200", "--batch", "8"]
    words += ["--epochs", "1", "--precision", "fp32", "--dropout", "0", "--learning-rate", "1e-3"]
    words += ["--prompt-form", "raw", "--eval-every", "0", "--micro-batch-tokens", "200"]
    command = [sys.executable, "-m", "core", "train", "finetune", *words, *options]
    environment = {**os.environ, "KNOWLM_STUDIO_HOME": str(out.parent / "workspace")}
    done = subprocess.run(
        command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses(metrics: list[dict]) -> list[float]:
    return [row["loss"] for row in metrics if "loss" in row]


@pytest.fixture(scope="module")
def alone(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    found = losses(train(base, tmp_path_factory.mktemp("alone") / "out"))
    assert len(found) >= 4
    return found


@pytest.mark.parametrize(
    "options",
    [
        ["--launcher", "torchrun"],
        ["--launcher", "accelerate"],
        pytest.param(
            ["--zero", "2"],
            marks=pytest.mark.skipif(not importlib.util.find_spec("deepspeed"), reason="requirements-train.txt"),
        ),
        pytest.param(
            ["--zero", "3"],
            marks=pytest.mark.skipif(not importlib.util.find_spec("deepspeed"), reason="requirements-train.txt"),
        ),
    ],
    ids=" ".join,
)
def test_two_ranks_learn_what_one_does(base, alone, tmp_path, options):
    out = tmp_path / "out"
    found = losses(train(base, out, "--processes", "2", *options))
    assert found == pytest.approx(alone, rel=2e-3)
    assert (out / "adapter_model.safetensors").exists()
    assert json.loads((out / "result.json").read_text())["reloaded_equal"] is not False
