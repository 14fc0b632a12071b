"""Fixtures that every room's tests share: workspaces of their own, and the real starter model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

PROJECT = Path(__file__).resolve().parent.parent
SHARED_WORKSPACE = PROJECT / ".test-workspace"
"""Holds what tests only read and what takes long to make: the starter model."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Full counts run only when asked for by name: `pytest -m soak`."""
    if "soak" in (config.option.markexpr or ""):
        return
    chosen, left = [], []
    for item in items:
        (left if item.get_closest_marker("soak") else chosen).append(item)
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = chosen


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh, empty workspace that this test and the processes it starts use."""
    folder = tmp_path / "workspace"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("KNOWLM_STUDIO_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def starter() -> Path:
    """The real starter model's GGUF, fetched by the real operation, once for all runs on this machine."""
    folder = SHARED_WORKSPACE / "models" / "starter"
    SHARED_WORKSPACE.mkdir(exist_ok=True)
    with FileLock(SHARED_WORKSPACE / "fetch.lock"):
        environment = {**os.environ, "KNOWLM_STUDIO_HOME": str(SHARED_WORKSPACE)}
        command = [sys.executable, "-m", "core", "models", "starter"]
        fetched = subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
    if fetched.returncode:
        pytest.fail(f"the starter model could not be fetched: {fetched.stderr[-2000:]}")
    return next(folder.glob("*.gguf"))


@pytest.fixture
def starter_workspace(workspace: Path, starter: Path) -> Iterator[Path]:
    """A fresh workspace that has the starter model; its model host, if a test left one, is stopped."""
    models = workspace / "models"
    models.mkdir(exist_ok=True)
    (models / "starter").symlink_to(starter.parent, target_is_directory=True)
    yield workspace
    from core.inference import client

    client.unload()
