"""LoRA on the same rows three ways: ours, a bare Trainer on the same packed passes, and alpaca-lora's padded batches.

    python -m benchmarks.finetune [--base FOLDER] [--rows 192] [--rounds 3] [--compile]

All without logging, in turn, on one model after the other from the same weights; the first step of each is not
timed. Speed is in tokens of whole samples a second, without padding: what share of them was computed once for
several is each way's own affair. One JSON line.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, Trainer, TrainerCallback, TrainingArguments

from core import models
from core.launchers import settle
from core.launchers.finetune import FinetuneRequest
from train import adapters, finetune, prepare
from train.callbacks import GiveBackMemory
from train.collate import tensors
from train.packing import Plan
from train.samples import Store
from train.trainer import AnswersOnly, PackedTrainer, Passes

MICRO = 4  # rows a pass, as alpaca-lora has it
WORDS = ("the", "of", "a", "river", "company", "she", "founded", "physics", "prize", "moved", "office", "report")
TASKS = (
    "Find the people in the text and copy them exactly as they are written there, one a line, nothing else.",
    "Summarise what happened.",
    "Which places are named? Answer with a list separated by semicolons, in the order of the text.",
)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--base", default=models.STARTER, help="a model reference; the starter by default")
    options.add_argument("--rows", type=int, default=192)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--compile", action="store_true", help="compile the layers, in all three")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as place:
        print(json.dumps(run(chosen, Path(place))))


def run(chosen: argparse.Namespace, place: Path) -> dict[str, Any]:
    data = place / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows(chosen.rows)), encoding="utf-8")
    request = FinetuneRequest(
        base=chosen.base, data=(data,), out=place / "out", validation_share=0, epochs=1, batch=chosen.batch,
        dropout=0.0, gradient_checkpointing="off", compile="on" if chosen.compile else "off",
    )  # fmt: skip
    base, card = finetune.base_of(request.base)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    form = prepare.form_of(request, card.prompt_form, tokenizer)
    store, _, account = prepare.stores(request, tokenizer, form, place / "data")
    ways: dict[str, Callable[..., Trainer]] = {"ours": ours, "bare": bare, "padded": padded}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    loss: dict[str, float] = {}
    plan = finetune.plan_of(request, store, ranks=1, packs=True)
    for _ in range(chosen.rounds):
        for name, way in ways.items():
            clock = Clock()
            trainer = way(request, base, store, plan, tokenizer, clock)
            loss[name] = trainer.train().training_loss
            seconds[name].append(clock.seconds)
            del trainer
    timed = sum(int(store.lengths[number]) for step in range(1, plan.steps) for number in plan.step(step))
    middle = {name: statistics.median(taken) for name, taken in seconds.items()}
    return {
        "benchmark": "finetune",
        "base": card.title or str(chosen.base),
        "precision": settle.precision(request.precision, settle.here(), device() == "cuda"),
        "compiled": chosen.compile,
        "samples": account.trained,
        "tokens": account.tokens,
        "rounds": chosen.rounds,
        "tokens_per_second": {name: round(timed / taken, 1) for name, taken in middle.items()},
        "seconds": {name: [round(one, 2) for one in taken] for name, taken in seconds.items()},
        "training_loss": {name: round(value, 4) for name, value in loss.items()},
        "ours_to_bare": round(middle["bare"] / middle["ours"], 3),
        "ours_to_padded": round(middle["padded"] / middle["ours"], 3),
    }


def rows(count: int) -> list[dict[str, str]]:
    """Of the lengths that instruction data have: most short, a few long."""
    chance = random.Random(0)

    def text(mean: float, spread: float) -> str:
        return " ".join(chance.choice(WORDS) for _ in range(min(300, int(chance.lognormvariate(mean, spread)) + 1)))

    return [{"instruction": TASKS[n % 3], "input": text(3.9, 0.7), "output": text(2.7, 0.6)} for n in range(count)]


class Clock(TrainerCallback):
    """Seconds from the end of the first step to the end of the last."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._first: float | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._first = self._first or time.monotonic()
        self.seconds = time.monotonic() - self._first


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def adapted(request: FinetuneRequest, base: Path) -> Any:
    precision = settle.precision(request.precision, settle.here(), device() == "cuda")
    torch.manual_seed(request.seed)
    model = adapters.load(base, method="lora", precision=precision, checkpointing=False, device=device())
    model = adapters.attach(
        model, method="lora", rank=request.rank, alpha=request.alpha, dropout=0.0, wanted=request.target_modules
    )
    if request.compile == "on":
        adapters.compile_layers(model)
    return model


def arguments(request: FinetuneRequest, steps: int, passes: int, each: int = 1) -> TrainingArguments:
    precision = settle.precision(request.precision, settle.here(), device() == "cuda")
    return TrainingArguments(
        output_dir=str(request.out), per_device_train_batch_size=each, gradient_accumulation_steps=passes,
        max_steps=steps, learning_rate=request.learning_rate, lr_scheduler_type="constant", adam_beta2=0.95,
        bf16=precision == "bf16", fp16=precision == "fp16", use_cpu=device() == "cpu", logging_strategy="no",
        save_strategy="no", report_to=[], disable_tqdm=True, remove_unused_columns=False,
        dataloader_pin_memory=device() == "cuda", seed=request.seed,
    )  # fmt: skip


def ours(request: FinetuneRequest, base: Path, store: Store, plan: Plan, tokenizer: Any, clock: Clock) -> Trainer:
    model = adapted(request, base)
    return PackedTrainer(
        collate=partial(tensors, store=store, pad=0, packs=True),
        keep=1,
        answers=AnswersOnly(model),
        model=model,
        args=arguments(request, plan.steps, plan.passes),
        train_dataset=Passes(plan),
        processing_class=tokenizer,
        callbacks=[clock, GiveBackMemory()],
    )


class InOrder(Trainer):
    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)  # type: ignore[arg-type]


def bare(request: FinetuneRequest, base: Path, store: Store, plan: Plan, tokenizer: Any, clock: Clock) -> Trainer:
    """The same passes as the library takes them: all logits, loss where its labels say."""

    def collated(passes: list[Any]) -> dict[str, Any]:
        made = tensors(passes[0], store, 0)
        labels = torch.full(made["input_ids"].shape, -100)
        # the library predicts the token after each place; a shared start's end can foretell only one of its samples
        labels.view(-1)[made["predicts"] + 1] = made["targets"]
        return {name: made[name] for name in ("input_ids", "position_ids", "attention_mask")} | {"labels": labels}

    return InOrder(
        model=adapted(request, base),
        args=arguments(request, plan.steps, plan.passes),
        train_dataset=Passes(plan),
        data_collator=collated,
        callbacks=[clock],
    )


class Rows(torch.utils.data.Dataset):
    """The plan's samples in its order, one by one."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self._store = store
        self._order = [number for step in range(plan.steps) for number in plan.step(step)]

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, at: int) -> int:
        return self._order[at]


def padded(request: FinetuneRequest, base: Path, store: Store, plan: Plan, tokenizer: Any, clock: Clock) -> Trainer:
    """Batches padded to their longest row (to eights), as alpaca-lora collates them."""

    def collated(numbers: list[int]) -> dict[str, Any]:
        length = -(-max(int(store.lengths[number]) for number in numbers) // 8) * 8
        shape = (len(numbers), length)
        made = {"input_ids": np.zeros(shape, int), "attention_mask": np.zeros(shape, int)}
        labels = np.full(shape, -100)
        for at, number in enumerate(numbers):
            ids, mask = store.tokens(number), store.mask(number)
            made["input_ids"][at, : len(ids)], made["attention_mask"][at, : len(ids)] = ids, 1
            labels[at, : len(ids)] = np.where(mask, ids, -100)
        return {name: torch.from_numpy(value) for name, value in (made | {"labels": labels}).items()}

    return InOrder(
        model=adapted(request, base),
        args=arguments(request, plan.steps, request.batch // MICRO, MICRO),
        train_dataset=Rows(store, plan),
        data_collator=collated,
        callbacks=[clock],
    )


if __name__ == "__main__":
    main()
