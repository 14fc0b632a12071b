"""What an output folder holds already of a training: nothing, the same one to go on with, or another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from core.errors import UserError
from core.launchers import contract
from core.launchers.request import Learning

R = TypeVar("R", bound=Learning)
PASSING = frozenset(
    {"resume", "devices", "hosts", "processes", "launcher", "port", "unload_host", "at_once", "dry_run", "keep"}
    | {"save_every", "eval_every", "micro_batch_tokens", "micro_batch", "gradient_checkpointing", "zero", "offload"}
    | {"keep_every", "every_node", "rendezvous", "machines", "network", "sample_every", "sample_prompts"}
    | {"sample_tokens", "shard_gb", "delta"}
)
"""Settings that may change between two calls without another model being trained."""


def settings(out: Path) -> dict[str, Any] | None:
    """What the folder's training was asked, resolved; None where there is none or it can't be read."""
    try:
        found = json.loads((out / contract.REQUEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def differences(before: dict[str, Any], request: Learning) -> list[str]:
    """“learning_rate: 0.0003 → 0.0002”, a line for each setting that decides what is learnt."""
    now = request.model_dump(mode="json")
    return [
        f"{name}: {_short(before.get(name))} → {_short(now[name])}"
        for name in now
        if name not in PASSING and before.get(name) != now[name]
    ]


def _short(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:120]


def checkpoints(out: Path) -> list[Path]:
    """Those that were written whole, the oldest first."""
    found = [folder for folder in out.glob("checkpoint-*") if (folder / contract.COMPLETE).is_file()]
    return sorted(found, key=lambda folder: int(folder.name.rpartition("-")[2]))


def kept(request: R) -> R:
    """What the first call chose by itself holds for the next one too: other passes would make another run."""
    before = settings(request.out)
    if before is None:
        return request
    automatic = {"precision": "auto", "micro_batch_tokens": 0, "micro_batch": 0, "gradient_checkpointing": "auto"}
    update = {
        name: before[name]
        for name, left_open in automatic.items()
        if getattr(request, name, None) == left_open and before.get(name) is not None
    }
    return request.model_copy(update=update)


def continued(request: R) -> tuple[R, list[str]]:
    """The request with `resume` set as the folder allows, and notes for a person. Raises UserError: another's."""
    before = settings(request.out)
    if before is None:
        _refuse_foreign(request)
        return request, []
    changed = differences(before, request)
    if request.resume:
        return request, [f"going on with other settings: {line}" for line in changed]
    if changed:
        raise UserError(
            "{out} holds another training: {changed}",
            remedy="Choose another folder, or go on from its last checkpoint with these settings: --resume last.",
            out=request.out,
            changed="; ".join(changed),
        )
    whole = checkpoints(request.out)
    if not whole:
        return request, []
    return request.model_copy(update={"resume": "last"}), [f"going on from {whole[-1].name}"]


def _refuse_foreign(request: Learning) -> None:
    if request.resume:
        raise UserError(
            "{out} holds no training to go on with.",
            remedy="Name the folder of the earlier training with --out, or leave --resume away.",
            out=request.out,
        )
    if request.out.is_file() or (request.out.is_dir() and any(request.out.iterdir())):
        raise UserError(
            "{out} exists already and holds something else.", remedy="Choose another folder.", out=request.out
        )


def finished(request: Learning) -> dict[str, Any] | None:
    """The result of this very training, if the folder holds it whole."""
    before = settings(request.out)
    if before is None or differences(before, request):
        return None
    try:
        found = json.loads((request.out / contract.RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
