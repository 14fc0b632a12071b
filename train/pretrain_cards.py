"""What a pretrained model says of itself: `README.md` for people and hubs, `studio.json` for this program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import models
from core.launchers.pretrain_request import PretrainRequest
from core.models import Card


def write(request: PretrainRequest, result: dict[str, Any]) -> None:
    base = Path(request.base)
    card = models.read_card(base if (base / models.CARD).is_file() else base.parent)
    title = card.title or base.name
    made = Card(title=f"{request.out.name} ({title})", source=f"pretrained from {title}", prompt_form="raw")
    if not request.new_weights:  # new weights owe the base nothing but its shape
        kept = {"languages": card.languages, "license": card.license, "dialect": card.dialect}
        made = made.model_copy(update={**kept, "prompt_form": card.prompt_form})
    models.write_card(request.out, made)
    (request.out / "README.md").write_text(_readme(request, result, made, title), encoding="utf-8")


def _readme(request: PretrainRequest, result: dict[str, Any], card: Card, title: str) -> str:
    begun = f"new weights in the shape of {title}" if request.new_weights else f"the weights of {title}"
    mix = ", ".join(f"{name} {quota}" for name, quota in result["quotas"].items())
    lines = [
        "---",
        f"license: {card.license or 'unknown'}",
        "---",
        f"# {card.title}",
        "",
        f"Pretrained from {begun}.",
        f"Corpora: {', '.join(folder.name for folder in request.corpus)}; rows of each source in every batch: {mix}.",
        f"{result['steps']} steps of {request.batch} rows, {result['tokens']} tokens; learning rate "
        f"{request.learning_rate:g}, {request.schedule}, seed {request.seed}.",
        "",
        "## Measured",
    ]
    if result["perplexity"]:
        lines += [
            "Perplexity (a token of its own tokenizer) on rows that were kept out of training:",
            "",
            *(f"- {name}: {value:.3f}" for name, value in result["perplexity"].items()),
        ]
    else:
        lines.append("Nothing was kept for validation, so nothing is known about how good it is.")
    told = "All settings stand in `request.json`, all steps in `metrics.jsonl`, the rows of each step in `ledger.bin`."
    return "\n".join([*lines, "", told, ""])
