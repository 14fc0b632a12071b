"""How a model is trained: the presets of train/configs, each with what it needs here, and why one is not for here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from core import operation, resources
from core.errors import UserError
from core.launchers import presets
from core.launchers.finetune import FinetuneRequest
from core.launchers.memory import Shape
from ui.i18n import error_text, t
from ui.parts.errors import plain

KEY = "train.preset"
ORDER = ("lora", "knowlm", "qlora", "full")
EXAMPLE = {"batch": 8, "epochs": 7, "max_steps": 20, "max_length": 512, "validation_share": 0.2}
"""The example has 30 short rows: a preset's batch of 32 would see each of them once a step."""


def method_chooser(base: str, shape: Shape, data: tuple[Path, ...], *, example: bool) -> tuple[str, dict[str, Any]]:
    """Draw it; (the preset's name, its settings). The first that fits this machine is chosen at first."""
    made = {name: settings_of(name, shape, example=example) for name in ordered()}
    told = {name: _needs(base, data, settings) for name, settings in made.items()}
    first = next((place for place, name in enumerate(told) if told[name][0]), 0)
    name = st.radio(
        t("Method"),
        list(made),
        first,
        format_func=title,
        captions=[caption for _, caption in told.values()],
        key=KEY,
        label_visibility="collapsed",
        persist_state="session",
    )
    return name, made[name]


def ordered() -> list[str]:
    # One that names its own rows (the starter's) is a finished recipe for the command line, not a way to choose here.
    known = [name for name in presets.names() if "data" not in presets.read(presets.file(name), FinetuneRequest)]
    return [*(name for name in ORDER if name in known), *(name for name in known if name not in ORDER)]


def settings_of(name: str, shape: Shape, *, example: bool) -> dict[str, Any]:
    """A preset, no longer than the model's context, and small enough where only the example is trained on."""
    made = presets.read(presets.file(name), FinetuneRequest) | (EXAMPLE if example else {})
    if shape.context:
        made["max_length"] = min(made.get("max_length", shape.context), shape.context)
    return made


def title(name: str) -> str:
    known = {
        "lora": t("LoRA: a small adapter beside the model"),
        "qlora": t("QLoRA: the same, with the model held in 4 bits"),
        "full": t("Full: all weights of the model"),
        "knowlm": t("LoRA with the settings that KnowLM was trained with"),
    }
    return known.get(name, plain(name))


def _needs(base: str, data: tuple[Path, ...], settings: dict[str, Any]) -> tuple[bool, str]:
    """(whether it fits this machine now, what it needs or why it can't be used)."""
    try:
        # The estimate of the folder's disk is the workspace's; nothing is written.
        request = FinetuneRequest(base=base, data=data or (Path("–"),), out=_nowhere(), **settings)
        needs = operation.of(request).estimate(request)
        short = resources.shortages(needs)
    except UserError as error:
        return False, f":red[:material/block:] {plain(error_text(error)[0])}"
    if needs.vram is not None:
        said = t("{size} of GPU memory", size=resources.size(needs.vram))
    else:
        said = t("{size} of memory", size=resources.size(needs.ram or 0))
    said += " · " + t("{size} of disk", size=resources.size(needs.disk or 0))
    if not short:
        return True, f":green[:material/check:] {said}"
    return False, f":orange[:material/warning:] {said} · {t('more than is free now')}"


def _nowhere() -> Path:
    from ui.parts.train_runs import folder

    return folder() / ".none"
