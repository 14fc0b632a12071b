"""The ledger of a pretraining: which rank learned from which row in which step. It proves that none was seen twice or
left out, whatever was killed and however many ranks there were.

`ledger.bin` is records of one size, that of step n at place n - 1, so that going on from a checkpoint cuts it at once:

    step i8 | ranks i4 | batch x row i8 | batch x rank i4          rows are -1 where a batch has fewer

`python -m train.ledger OUT` compares it with the order that the settings give.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from core.errors import UserError

FILE = "ledger.bin"
NONE = -1


def record(batch: int) -> np.dtype:
    return np.dtype([("step", "<i8"), ("ranks", "<i4"), ("row", "<i8", (batch,)), ("rank", "<i4", (batch,))])


class Ledger(TrainerCallback):
    """Writes what the trainer says its ranks were really given (`trainer.consumed`), at the end of each step."""

    def __init__(self, out: Path, batch: int) -> None:
        self._file, self._kind = out / FILE, record(batch)
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """What follows the checkpoint that we go on from is done again."""
        if not state.is_world_process_zero:
            return
        self._file.touch()
        held = self._file.stat().st_size // self._kind.itemsize
        if held < state.global_step:
            raise UserError(
                "The ledger {file} knows {held} steps, but the checkpoint has {steps}.",
                remedy="Put the ledger of that training back, or go on from an earlier checkpoint.",
                file=self._file,
                held=held,
                steps=state.global_step,
            )
        os.truncate(self._file, state.global_step * self._kind.itemsize)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        ranks, rows = np.nonzero(self.trainer.consumed != NONE)
        made = np.zeros(1, self._kind)
        made["step"], made["ranks"], made["row"], made["rank"] = state.global_step, args.world_size, NONE, NONE
        made["row"][0, : len(rows)] = self.trainer.consumed[ranks, rows]
        made["rank"][0, : len(ranks)] = ranks
        with self._file.open("ab") as handle:
            handle.write(made.tobytes())
            if control.should_save:  # a checkpoint must never know a step that the ledger doesn't
                handle.flush()
                os.fsync(handle.fileno())


@dataclass(frozen=True)
class Account:
    """`wrong`: the first step whose rows are not the order's, None where all are; `topologies`: ranks, as they came."""

    steps: int
    rows: int
    topologies: tuple[int, ...]
    wrong: int | None = None

    def lines(self) -> list[str]:
        ranks = " → ".join(map(str, self.topologies)) or "–"
        told = [f"{self.steps} steps, {self.rows} rows, ranks {ranks}"]
        if self.wrong is None:
            return [*told, "every step learned from exactly the rows of the order: none twice, none left out"]
        return [*told, f"step {self.wrong} did not learn from the rows of the order"]


def read(out: Path, batch: int) -> np.ndarray:
    """The whole records; one that a kill tore is left out."""
    file = out / FILE
    kind = record(batch)
    count = file.stat().st_size // kind.itemsize if file.is_file() else 0
    return np.memmap(file, kind, "r", shape=(count,)) if count else np.zeros(0, kind)


def check(records: np.ndarray, step: Callable[[int], np.ndarray]) -> Account:
    """`step(n)`: the rows of optimiser step n, from 0, as the order has them."""
    rows, wrong = 0, None
    for number, one in enumerate(records):
        taken = one["row"][one["row"] != NONE]
        rows += len(taken)
        if wrong is None and (
            int(one["step"]) != number + 1 or not np.array_equal(np.sort(taken), np.sort(step(number)))
        ):
            wrong = number + 1
    return Account(len(records), rows, tuple(_changes(records["ranks"])), wrong)


def _changes(ranks: np.ndarray) -> Iterator[int]:
    before = None
    for one in ranks:
        if one != before:
            yield int(one)
        before = one


def main(out: Path) -> int:
    from transformers import AutoTokenizer

    from core.launchers.pretrain_request import PretrainRequest
    from train import pretrain_data

    request = PretrainRequest.model_validate(json.loads((out / "request.json").read_text(encoding="utf-8")))
    tokenizer = AutoTokenizer.from_pretrained(request.base, local_files_only=True)
    data = pretrain_data.opened(request, tokenizer)
    plan = pretrain_data.Plan(data, request.batch, request.micro_batch, 1, request.epochs, request.max_steps)
    account = check(read(out, request.batch), plan.step)
    print("\n".join(account.lines()))
    return 0 if account.wrong is None else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
