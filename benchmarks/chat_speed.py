"""Chat: tokens a second against KnowLM's loop, seconds to the first token (also beside a batch), and how soon it stops.

    python -m benchmarks.chat_speed [--model starter-base] [--engine llamacpp] [--batch-engine openvino]

`first_token_seconds`: of the second turn of a conversation whose prompt has about 500 tokens. `beside_a_batch`: of
such a turn while 256 texts are being extracted from by the same host. `stop`: the host's processor time in the 2 s
after an answer was stopped, and how long it still computed. One JSON line; `ratio` is to KnowLM's tokens a second
(transformers, fp32, one prompt at a time).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from benchmarks.batch_speed import SCHEMA, TASK, sentences
from core import models
from core.extract.run import RunRequest
from core.extract.run import run as extract
from core.inference import client
from core.inference.client import Client
from core.inference.decoding import Decoding
from core.inference.engine import Generation
from core.operation import Silent

ROUNDS = 5
ANSWER = 128
WORDS = "Tell me about the town, its harbour and its people, and say what you know of each of them. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter-base")
    parser.add_argument("--engine", default="llamacpp")
    parser.add_argument("--batch-engine", default="openvino")
    parser.add_argument("--rows", type=int, default=256)
    given = parser.parse_args()
    client.unload()
    told: dict[str, Any] = {"benchmark": "chat_speed", "cores": os.cpu_count(), "model": given.model}
    client.load(given.model, engine=given.engine)
    told["alone"] = alone(client.connect(given.model))
    told["stop"] = stopped(client.connect(given.model))
    client.unload()
    client.load(models.STARTER, engine=given.batch_engine)
    told["beside_a_batch"] = beside_a_batch(given.rows) | {"engine": given.batch_engine}
    told["stop_batch_engine"] = stopped(client.connect(models.STARTER))
    client.unload()
    told["knowlm"] = knowlm(given.model)
    told["ratio"] = round(told["alone"]["tokens_per_second"] / told["knowlm"]["tokens_per_second"], 1)
    print(json.dumps(told))


def asked(turns: int) -> tuple[dict[str, str], ...]:
    """A conversation of about 500 tokens in its first message; each further turn adds a short one."""
    messages = [{"role": "user", "content": WORDS * 24}]
    for turn in range(1, turns):
        messages += [
            {"role": "assistant", "content": f"It is a small town, and that was answer {turn}."},
            {"role": "user", "content": f"Go on with part {turn}."},
        ]
    return tuple(messages)


def first_token(host: Client, turns: int, tokens: int = 8) -> tuple[float, int, float]:
    """(seconds to the first text, prompt tokens, tokens a second after it)."""
    began = time.monotonic()
    first, end = 0.0, None
    for piece in host.pieces(Generation(Decoding(max_tokens=tokens), None, asked(turns)), threading.Event()):
        if piece.text and not first:
            first = time.monotonic() - began
        end = piece
    took = time.monotonic() - began
    made, prompt = (end.tokens, end.prompt_tokens) if end is not None else (0, 0)
    return first or took, prompt, (made - 1) / max(took - first, 1e-6)


def alone(host: Client) -> dict[str, Any]:
    first_token(host, 1)
    firsts, prompts, _ = zip(*(first_token(host, turns) for turns in range(2, 2 + ROUNDS)), strict=True)
    rates = []
    for number in range(ROUNDS):
        began = time.monotonic()
        answer = host.complete(f"{number}. Once upon a time", Decoding(max_tokens=ANSWER))
        rates.append(answer.tokens / (time.monotonic() - began))
    return {
        "prompt_tokens": prompts[0],
        "first_token_seconds": round(statistics.median(firsts), 3),
        "tokens_per_second": round(statistics.median(rates), 1),
    }


def beside_a_batch(rows: int) -> dict[str, Any]:
    """A turn every second while the batch runs; the first one finds nothing in the cache and isn't counted."""
    host = client.connect(models.STARTER)
    first_token(host, 1)
    with tempfile.TemporaryDirectory() as place:
        data = Path(place) / "rows.jsonl"
        data.write_text("".join(json.dumps({"text": text}) + "\n" for text in sentences(rows)), encoding="utf-8")
        request = RunRequest(
            input=data,
            text_column="text",
            task=(TASK,),
            schema_ref=SCHEMA,
            out=Path(place) / "out",
            model=models.STARTER,
        )
        done = threading.Event()
        result: list[Any] = []

        def batch() -> None:
            try:
                result.append(extract(request, Silent()))
            finally:
                done.set()

        threading.Thread(target=batch, daemon=True).start()
        time.sleep(2.0)
        firsts, rates = [], []
        turn = 2
        while not done.is_set():
            first, _, rate = first_token(host, turn, tokens=16)
            if not done.is_set():
                firsts.append(first)
                rates.append(rate)
            turn = turn % 5 + 1
            time.sleep(1.0)
    return {
        "turns": len(firsts),
        "first_token_seconds": round(statistics.median(firsts), 3) if firsts else None,
        "slowest": round(max(firsts), 3) if firsts else None,
        "tokens_per_second": round(statistics.median(rates), 1) if rates else None,
        "rows_per_second": round(result[0].rows_per_second, 2) if result else None,
    }


def stopped(host: Client) -> dict[str, Any]:
    """How much the host's processes computed after an answer was stopped."""
    still, worst = [], 0.0
    for _ in range(ROUNDS):
        stop = threading.Event()
        pieces = host.pieces(Generation(Decoding(max_tokens=1500), "Once upon a time", ()), stop)
        for number, _piece in enumerate(pieces):
            if number == 16:
                break
        stop.set()
        pieces.close()  # type: ignore[attr-defined]
        before, began = processor_time(), time.monotonic()
        last, worked = before, 0.0
        while time.monotonic() - began < 2.0:
            time.sleep(0.05)
            now = processor_time()
            if now - last > 0.02:
                worked = time.monotonic() - began
            last = now
        still.append(last - before)
        worst = max(worst, worked)
    return {"processor_seconds": round(statistics.median(still), 3), "computed_for_at_most": round(worst, 3)}


def processor_time() -> float:
    """Of the host and its children, in seconds."""
    host = psutil.Process(client.status().pid)
    return sum(sum(one.cpu_times()[:2]) for one in [host, *host.children(recursive=True)])


def knowlm(ref: str) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = models.weights_folder(models.resolve(ref))
    if folder is None:
        raise SystemExit(f"{ref} has no Hugging Face weights here")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=torch.float32).eval()
    rates = []
    for number in range(3):
        inputs = tokenizer(f"{number}. Once upon a time", return_tensors="pt")
        began = time.monotonic()
        with torch.inference_mode():
            made = model.generate(**inputs, max_new_tokens=ANSWER, do_sample=True, temperature=0.7)
        rates.append((made.shape[1] - inputs["input_ids"].shape[1]) / (time.monotonic() - began))
    return {"tokens_per_second": round(statistics.median(rates), 1)}


if __name__ == "__main__":
    main()
