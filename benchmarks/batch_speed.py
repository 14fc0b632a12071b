"""Rows a second of batch extraction: ours against KnowLM's loop, transformers' batches and a stock llama.cpp server.

    python -m benchmarks.batch_speed [--rows 256] [--slow-rows 48] [--engine openvino] [--ways ours,knowlm,…]

The same distinct texts, prompts, answer format, stop rule and longest answers on all sides; the starter with its
adapter merged. `ours` goes through the whole of `extract run`, once with every span held to the text and once free.
The others only generate, and throw the answers away: KnowLM's loop (fp32, one prompt at a time), `generate` on padded
batches of 32 in bf16, llama.cpp's own server with as many callers as it has slots. The slow ways take the first
rows of the same file. One JSON line; ratios are to KnowLM's loop.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from core import models, paths
from core.extract import calls, schema
from core.extract.run import RunRequest
from core.extract.run import run as extract
from core.extract.schema import Task
from core.inference import client
from core.operation import Silent
from core.store import Store
from train.starter import templates

SCHEMA = "people-and-organisations-en"
TASK: Task = "re"
ANSWER = 96
"""Longest answer of the ways that know no grammar, in tokens; ours ends by its grammar, or at the text's own limit."""
SLOTS = 16
BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--slow-rows", type=int, default=48)
    parser.add_argument("--engine", default="")
    parser.add_argument("--ways", default="ours,free,llamacpp,transformers,knowlm")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(measure(given, Path(place))))


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    texts = sentences(given.rows)
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    prompts = asked(texts)
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "ours": lambda: ours(data, folder / "ours", given.engine),
        "free": lambda: ours(data, folder / "free", given.engine, grammar=False),
        "llamacpp": lambda: llama_server(prompts),
        "transformers": lambda: batched(prompts[: given.slow_rows * 2], folder),
        "knowlm": lambda: one_by_one(prompts[: given.slow_rows], folder),
    }
    told: dict[str, Any] = {"benchmark": "batch_speed", "cores": os.cpu_count(), "rows": given.rows}
    for name in given.ways.split(","):
        told[name] = ways[name]()
        print(name, json.dumps(told[name]), flush=True)
    if "knowlm" in told:
        slow = told["knowlm"]["rows_per_second"]
        told["ratio"] = {
            name: round(told[name]["rows_per_second"] / slow, 1) for name in ways if name in told and name != "knowlm"
        }
    return told


def sentences(count: int) -> list[str]:
    """Distinct texts of one to three generated sentences that the adapter was not trained on."""
    rng = random.Random(3)
    worlds = [templates.rows(name, "kept_out", rng) for name in templates.worlds() if templates.load_world(name).events]
    made: dict[str, None] = {}
    while len(made) < count:
        source = rng.choice(worlds)
        made[" ".join(next(source).text for _ in range(rng.choice((1, 1, 2, 3))))] = None
    return list(made)


def asked(texts: Sequence[str]) -> list[str]:
    """The prompts that `extract run` makes of them."""
    model, options = models.resolve(models.STARTER), calls.Options()
    (part,) = calls.parts(schema.load(SCHEMA), [TASK], options, model)
    return [calls.prompt(call, model) for text in texts for call in calls.calls(text, part, options)]


def ours(data: Path, out: Path, engine: str, *, grammar: bool = True) -> dict[str, Any]:
    """The whole of `extract run`, the model loaded before."""
    now = client.load(models.STARTER, engine=engine or None)
    request = RunRequest(
        input=data, text_column="text", task=(TASK,), schema_ref=SCHEMA, out=out, model=models.STARTER, grammar=grammar
    )
    began = time.monotonic()
    result = extract(request, Silent())
    seconds = time.monotonic() - began
    client.unload()
    rows = list(Store(out).results())
    spans = [span for row in rows for one in row.relations for span in (one.head, one.tail)]
    return {
        "engine": now.engine,
        "rows_per_second": round(result.rows / seconds, 2),
        "parseable": sum(row.error is None for row in rows) / len(rows),
        "verbatim": sum(span.start is not None for span in spans) / max(1, len(spans)),
        "tokens": sum(row.provenance["tokens"] for row in rows),
    }


def merged(folder: Path) -> Path:
    """The starter as a Hugging Face folder, its adapter merged."""
    from core.weights import adapter

    out = folder / "merged"
    base = models.weights_folder(models.resolve(models.STARTER))
    if base is None:
        raise SystemExit("The starter's weights are not here: python -m core models starter")
    if not out.exists():
        request = adapter.MergeRequest(
            base=base,
            adapter=(paths.ASSETS / "starter-adapter",),
            out=out,
        )
        adapter.merge(request, Silent())
    return out


def one_by_one(prompts: Sequence[str], folder: Path) -> dict[str, Any]:
    """As KnowLM's scripts do: fp32, a prompt at a time."""
    model, tokenizer = loaded(folder, "float32")
    generated(model, tokenizer, prompts[:1])
    began = time.monotonic()
    tokens = sum(generated(model, tokenizer, [prompt]) for prompt in prompts)
    return _rate(len(prompts), tokens, began)


def batched(prompts: Sequence[str], folder: Path) -> dict[str, Any]:
    """transformers' own batches, padded on the left, prompts of like length together, in bf16."""
    model, tokenizer = loaded(folder, "bfloat16")
    generated(model, tokenizer, prompts[:2])
    ordered = sorted(prompts, key=len)
    began = time.monotonic()
    tokens = sum(generated(model, tokenizer, ordered[at : at + BATCH]) for at in range(0, len(ordered), BATCH))
    return _rate(len(prompts), tokens, began)


def loaded(folder: Path, dtype: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = merged(folder)
    tokenizer = AutoTokenizer.from_pretrained(place, local_files_only=True, padding_side="left")
    return AutoModelForCausalLM.from_pretrained(place, local_files_only=True, dtype=dtype).eval(), tokenizer


def generated(model: Any, tokenizer: Any, prompts: Sequence[str]) -> int:
    """How many tokens were made."""
    import torch

    inputs = tokenizer(list(prompts), return_tensors="pt", padding=True)
    with torch.inference_mode():
        made = model.generate(**inputs, max_new_tokens=ANSWER, do_sample=False, pad_token_id=tokenizer.pad_token_id)
    new = made[:, inputs["input_ids"].shape[1] :]
    return int((new != tokenizer.pad_token_id).sum())


def llama_server(prompts: Sequence[str]) -> dict[str, Any]:
    """llama.cpp's server as it comes, continuous batching and prompt cache on, a caller a slot."""
    import httpx
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(models.resolve(models.STARTER).path)
    params.n_ctx, params.n_parallel, params.port = 2048 * SLOTS, SLOTS, 0
    params.verbosity = 0
    server = xllamacpp.Server(params)
    with httpx.Client(base_url=server.listening_address, timeout=600, trust_env=False) as door:

        def ask(prompt: str) -> int:
            body = {"prompt": prompt, "max_tokens": ANSWER, "temperature": 0, "stop": ["\n\n"]}
            return int(door.post("/v1/completions", json=body).json()["usage"]["completion_tokens"])

        ask(prompts[0])
        began = time.monotonic()
        with ThreadPoolExecutor(SLOTS) as pool:
            tokens = sum(pool.map(ask, prompts))
        return _rate(len(prompts), tokens, began)


def _rate(rows: int, tokens: int, began: float) -> dict[str, Any]:
    seconds = time.monotonic() - began
    return {"rows_per_second": round(rows / seconds, 2), "rows": rows, "tokens": tokens}


if __name__ == "__main__":
    main()
