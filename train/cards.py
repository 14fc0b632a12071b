"""What a trained model says of itself: `README.md` for people and hubs, `studio.json` for this program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core import models
from core.extract.dialects import studio
from core.extract.schema import TASKS, Schema
from core.launchers.finetune import FinetuneRequest
from core.models import Card


def asks_for_extraction(prompts: Sequence[str]) -> bool:
    """Whether most of these begin as the studio dialect asks: then no examples need be shown when it is asked."""
    begins = [
        studio.prompt(task, Schema(language=language), "").split("\n")[0] for task in TASKS for language in ("en", "zh")
    ]
    asking = sum(any(begin in prompt for begin in begins) for prompt in prompts)
    return asking * 2 > len(prompts)


def write(request: FinetuneRequest, result: dict[str, Any], base: Path, *, extracts: bool) -> None:
    card = models.read_card(base if (base / models.CARD).is_file() else base.parent)
    title = f"{request.out.name} ({card.title or base.name})"
    models.write_card(
        request.out,
        Card(
            title=title,
            languages=card.languages,
            license=card.license,
            source=f"trained from {card.title or base.name}",
            dialect=card.dialect,
            prompt_form="raw" if result["form"] == "raw" else "chat",
            trained_for_extraction=extracts or card.trained_for_extraction,
        ),
    )
    (request.out / "README.md").write_text(_readme(request, result, card, title), encoding="utf-8")


def _readme(request: FinetuneRequest, result: dict[str, Any], card: Card, title: str) -> str:
    data, judged = result["data"], result["verdict"]
    lines = [
        "---",
        f"license: {card.license or 'unknown'}",
        *(["library_name: peft"] if request.method != "full" else []),
        "---",
        f"# {title}",
        "",
        f"Base: {card.title or request.base}, licence {card.license or 'not declared'}.",
        f"Data: {', '.join(path.name for path in request.data)}: {data['trained']} samples, {data['tokens']} tokens, "
        f"{data['learned']} of them learned; {data['refused']} rows refused.",
        f"Method: {request.method}"
        + (f", rank {request.rank}, alpha {request.alpha:g}" if request.method != "full" else "")
        + f"; {result['steps']} steps of {request.batch} samples, learning rate {request.learning_rate:g}, "
        f"{request.schedule}, seed {request.seed}. Prompts in the form “{result['form']}”.",
        "",
        "## Measured",
    ]
    if judged:
        lines += [
            f"Loss on {judged['samples']} validation samples, nats a token: {judged['before']:.4f} before, "
            f"{judged['after']:.4f} after; difference {judged['low']:.4f} to {judged['high']:.4f} (95%, paired "
            f"bootstrap): **{judged['word']}**.",
        ]
    else:
        lines.append("Nothing was kept for validation, so nothing is known about how good it is.")
    lines += ["", "All settings stand in `request.json`, all steps in `metrics.jsonl`.", ""]
    return "\n".join(lines)
