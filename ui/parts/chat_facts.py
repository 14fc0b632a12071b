"""How an answer came about, on the line under it."""

from __future__ import annotations

from core.inference.chat import Message
from ui.i18n import t


def facts_line(message: Message) -> str:
    """`128 tokens · 64.2 tokens/s · first after 0.21 s · cut by its length · seed 7 · the model`."""
    facts, told = message.facts, []
    if facts.tokens:
        told.append(t("{n} tokens", n=facts.tokens))
    if facts.rate:
        told.append(t("{rate} tokens/s", rate=f"{facts.rate:.1f}"))
    if facts.first_token_seconds is not None:
        told.append(t("first after {seconds} s", seconds=f"{facts.first_token_seconds:.2f}"))
    told.append(_ending(message.finish))
    if facts.decoding:
        told.append(_chance(facts.seed, facts.decoding))
    told.append({"raw": t("completion"), "alpaca": t("instruction form")}.get(facts.form, ""))
    told.append(facts.title)
    if not facts.adapter:
        told.append(t("without its adapter"))
    return " · ".join(filter(None, told))


def _chance(seed: int | None, decoding: dict) -> str:
    """What would bring the same answer again."""
    if not decoding.get("temperature"):
        return t("likeliest tokens: no seed needed")
    used = seed if seed is not None else decoding.get("seed")
    return t("seed not told by the server") if used is None else t("seed {seed}", seed=used)


def _ending(finish: str) -> str:
    words = {
        "stop": t("complete"),
        "length": t("cut by its length"),
        "cancelled": t("stopped"),
        "error": t("failed"),
        "lost": t("broken off: the app was closed"),
    }
    return words.get(finish, finish)
