"""Kinds of OpenAI-compatible servers: how each is recognised, and what it takes beyond OpenAI's own fields."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.inference import wire
from core.inference.engine import Generation
from core.inference.remote_replies import number

PARALLEL = 8
"""Requests put at once to a server that doesn't say how many it answers at once."""


@dataclass(frozen=True)
class Dialect:
    """What a kind of server takes beyond OpenAI's own fields."""

    names: dict[str, str] = field(default_factory=dict)
    """Decoding fields of ours that it takes, and what it calls them."""
    all_tokens: int | None = None
    """Its top_k that means all; None: as ours, 0."""
    always: dict[str, Any] = field(default_factory=dict)
    """Fields whose defaults would change an answer behind one's back."""
    grammar: str = ""
    """Where a GBNF grammar goes: a field, or `outer.inner`; empty where it takes none."""
    compiles: bool = False
    """Whether it compiles each new grammar before it decodes (xgrammar), beside which decoding waits."""
    go_on: dict[str, bool] = field(default_factory=dict)
    """What makes it go on with a last message of the assistant instead of answering it."""
    seeds: bool = False
    """Whether a seed is known to be used."""


_PENALTY = "repetition_penalty"
_SAMPLED = {"top_k": "top_k", _PENALTY: _PENALTY}
_VLLM_GOES_ON = {"add_generation_prompt": False, "continue_final_message": True}
OPENAI = Dialect()
# vLLM: structured_outputs came with 0.11, guided_grammar went with 0.12 (its documentation, “Structured Outputs”).
# SGLang: `ebnf`, in the form of llama.cpp's grammars (its documentation, “Structured Outputs”).
DIALECTS = {
    wire.SERVER: Dialect({**_SAMPLED, "beams": "beams"}, grammar="grammar", seeds=True),
    "llama.cpp": Dialect(
        {"top_k": "top_k", _PENALTY: "repeat_penalty"}, always={"min_p": 0.0}, grammar="grammar", seeds=True
    ),
    "vllm": Dialect(_SAMPLED, -1, grammar="structured_outputs.grammar", compiles=True, go_on=_VLLM_GOES_ON, seeds=True),
    "old vllm": Dialect(_SAMPLED, -1, grammar="guided_grammar", compiles=True, go_on=_VLLM_GOES_ON, seeds=True),
    "sglang": Dialect(_SAMPLED, -1, grammar="ebnf", compiles=True, go_on={"continue_final_message": True}),
    "ollama": Dialect(seeds=True),
}


@dataclass(frozen=True)
class Found:
    """What a server turned out to be."""

    kind: str = ""
    grammar: bool = False
    beams: bool = False
    context: int = 0
    parallel: int = PARALLEL

    @property
    def compiles(self) -> bool:
        return DIALECTS.get(self.kind, OPENAI).compiles


Page = Callable[[str], dict[str, Any]]
"""Asks for a page beside /v1; an empty answer where there is none."""


def look(served: dict[str, Any], page: Page) -> Found:
    """A server's kind, from what it says of its model and from pages that only its kind has."""
    owner = str(served.get("owned_by", ""))
    context = number(served.get("max_model_len")) or number((served.get("meta") or {}).get("n_ctx"))
    if owner == "sglang":
        return _found("sglang", context)
    if owner == "vllm":
        return _found(_vllm(page) or "vllm", context)
    health = page("/health")
    if health.get("server") == wire.SERVER:
        can = health.get("can") or {}
        places = number(health.get("parallel")) or 1
        return Found(wire.SERVER, can.get("grammar") is True, can.get("beams") is True, context, places)
    props = page("/props")
    if "default_generation_settings" in props:
        slot = number((props.get("default_generation_settings") or {}).get("n_ctx"))
        return _found("llama.cpp", slot or context, number(props.get("total_slots")) or PARALLEL)
    if old := _vllm(page):
        return _found(old, context)
    if page("/api/version").get("version"):
        return _found("ollama", context or _ollama_context(str(served.get("id", "")), page))
    return Found(context=context)


def body(request: Generation, model: str, kind: str) -> tuple[str, dict[str, Any]]:
    """(path, what to post) for a request."""
    dialect, decoding = DIALECTS.get(kind, OPENAI), request.decoding
    made: dict[str, Any] = {
        "model": model,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "max_tokens": decoding.max_tokens,
        **dialect.always,
    }
    made |= {theirs: getattr(decoding, ours) for ours, theirs in dialect.names.items()}
    if made.get("top_k") == 0 and dialect.all_tokens is not None:
        made["top_k"] = dialect.all_tokens
    if decoding.seed is not None:
        made["seed"] = decoding.seed
    if request.stop:
        made["stop"] = list(request.stop)
    if not request.adapter:
        made["adapter"] = False
    if request.grammar is not None:
        outer, _, inner = dialect.grammar.partition(".")
        made[outer] = {inner: request.grammar} if inner else request.grammar
    if request.messages:
        made |= dialect.go_on if request.messages[-1]["role"] == "assistant" else {}
        return "/chat/completions", made | {"messages": list(request.messages)}
    return "/completions", made | {"prompt": request.prompt}


def _found(kind: str, context: int, parallel: int = PARALLEL) -> Found:
    return Found(kind, bool(DIALECTS[kind].grammar), False, context, parallel)


def _vllm(page: Page) -> str:
    """Which vLLM it is, by its version; "" if it has no such page."""
    version = re.match(r"0\.(\d+)", str(page("/version").get("version", "")))
    if version is None:
        return ""
    return "vllm" if int(version[1]) >= 11 else "old vllm"


def _ollama_context(model: str, page: Page) -> int:
    """Of a model that it has loaded. What is longer it cuts off without a word, so this is worth asking."""
    loaded = page("/api/ps").get("models")
    rows = loaded if isinstance(loaded, list) else []
    mine = (row for row in rows if isinstance(row, dict) and model in (row.get("name"), row.get("model")))
    return number(next(mine, {}).get("context_length"))
