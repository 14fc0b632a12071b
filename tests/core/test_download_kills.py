"""The download command, really killed at random moments: nothing torn, almost nothing fetched twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import models
from core.paths import PROJECT
from tests.core.loopback_hub import Hub

pytestmark = pytest.mark.alone

REPO = "acme/large"
PER_FILE = 4_000_000
"""Bytes a second the server sends of each file."""


@pytest.fixture
def hub(workspace: Path) -> Iterator[Hub]:
    made = Hub()
    yield made
    made.close()


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.soak)])
def test_a_killed_download_goes_on_and_serves_hardly_a_byte_twice(hub: Hub, tmp_path: Path, kills: int) -> None:
    size = 3_000_000 * (kills + 1)
    hub.files[REPO] = {f"model-{n}.safetensors": random.Random(n).randbytes(size) for n in (1, 2)} | {
        "config.json": b"{}"
    }
    for name in ("model-1.safetensors", "model-2.safetensors"):
        hub.behave(name, bytes_per_second=PER_FILE)
    out, killed, dice = tmp_path / "out", 0, random.Random(7)
    while (process := start(hub, out)).poll() is None:
        if killed < kills:
            wait_for_growth(out, process, dice.uniform(0, 0.6))
            process.kill()
            killed += process.wait() == -9
            assert_nothing_torn(hub, out)
        else:
            process.wait(timeout=120)
            break
    assert process.returncode == 0, process.stderr.read() if process.stderr else ""
    assert killed == kills
    for name, content in hub.files[REPO].items():
        assert (out / name).read_bytes() == content
    assert not list(out.glob("*.part*"))
    assert sum(hub.served.values()) <= 1.05 * sum(map(len, hub.files[REPO].values()))


def start(hub: Hub, out: Path) -> subprocess.Popen:
    argv = [sys.executable, "-m", "core", "models", "download", "--repo", REPO, "--out", str(out), "--json"]
    environment = {**os.environ, "HF_ENDPOINT": hub.url}
    return subprocess.Popen(
        argv, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_growth(out: Path, process: subprocess.Popen, more: float) -> None:
    """Until the process has begun to receive, then a random moment more."""
    before = received(out)
    while process.poll() is None and received(out) <= before:
        time.sleep(0.01)
    time.sleep(more)


def received(out: Path) -> int:
    return sum(path.stat().st_size for path in out.glob("model*") if path.suffix != ".json") if out.is_dir() else 0


def assert_nothing_torn(hub: Hub, out: Path) -> None:
    for name, content in hub.files[REPO].items():
        assert not (out / name).exists() or (out / name).read_bytes() == content
    if not all((out / name).exists() for name in hub.files[REPO]):
        assert not (out / models.CARD).exists()


def test_a_terminated_download_keeps_its_part(hub: Hub, tmp_path: Path) -> None:
    hub.files[REPO] = {"model.safetensors": random.randbytes(4_000_000)}
    hub.behave("model.safetensors", bytes_per_second=2_000_000)
    process = start(hub, tmp_path)
    wait_for_growth(tmp_path, process, 0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) == 130
    kept = (tmp_path / "model.safetensors.part").stat().st_size
    hub.behaviours.clear()
    process = start(hub, tmp_path)
    answer = json.loads(process.communicate(timeout=60)[0])
    assert answer["bytes"] == 4_000_000 - kept
