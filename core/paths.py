"""Where things live: the workspace and its folders, in one place."""

from __future__ import annotations

import os
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
ASSETS = PROJECT / "assets"
WORKSPACE_VARIABLE = "KNOWLM_STUDIO_HOME"
JOB_VARIABLE = "KNOWLM_STUDIO_JOB"
"""Set for all processes of a job, so that cancelling finds them. Remove it from the environment of a process
that is meant to outlive the job that starts it, such as the model host."""


def workspace() -> Path:
    """The folder that holds a person's models, jobs, runs and settings.

    `$KNOWLM_STUDIO_HOME`, else `~/knowlm-studio`. Read at each call, so that a test or a second
    window can use another one. Created with mode 0700, since it holds tokens and private texts.
    """
    folder = Path(os.environ.get(WORKSPACE_VARIABLE) or Path.home() / "knowlm-studio").expanduser().resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def models() -> Path:
    """One folder a model."""
    return _inside("models")


def jobs() -> Path:
    """One folder a job: request.json, events.jsonl, result.json."""
    return _inside("jobs")


def runs() -> Path:
    """One folder an extraction run made by the app."""
    return _inside("runs")


def trainings() -> Path:
    """One folder a training started by the app: its checkpoints, metrics and what it made."""
    return _inside("trainings")


def corpora() -> Path:
    """One folder a corpus built by the app: its packed samples and its ledger."""
    return _inside("corpora")


def host() -> Path:
    """The model host's lock, address and log."""
    return _inside("host")


def uploads() -> Path:
    """Files a person dropped on a page, named by their content's hash."""
    return _inside("uploads")


def schemas() -> Path:
    """A person's own schemas, one .json file each."""
    return _inside("schemas")


def settings_file() -> Path:
    return workspace() / "settings.json"


def _inside(name: str) -> Path:
    folder = workspace() / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
