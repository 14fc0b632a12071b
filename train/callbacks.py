"""What a running training tells and obeys: metrics.jsonl, a stop at a step's end, an end when the loss is no number."""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from transformers import TrainerCallback

from core.errors import UserError
from core.launchers.contract import METRICS, STOP
from train import checkpoints

NUMBERS = ("loss", "eval_loss", "learning_rate", "grad_norm")


class Metrics(TrainerCallback):
    """Writes a JSON line for every logged step; `samples(n)`, if given, tells which samples optimiser step n (from 0)
    learned from, for `samples.jsonl`. `epochs(steps)`: how many epochs so many steps are."""

    def __init__(
        self, out: Path, *, epochs: Callable[[int], float], samples: Callable[[int], list[int]] | None = None
    ) -> None:
        self._file, self._ledger = out / METRICS, out / "samples.jsonl"
        self._epochs, self._samples = epochs, samples
        self._since, self._tokens_then = time.monotonic(), 0
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._since, self._tokens_then = time.monotonic(), self.trainer.tokens_seen
        if not state.is_world_process_zero:
            return
        for file in (self._file, self._ledger):  # what follows the checkpoint that we go on from is done again
            forget_after(file, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        state.epoch = self._epochs(state.global_step)  # the Trainer counts from where it went on
        if state.is_world_process_zero and self._samples is not None:
            append(self._ledger, {"step": state.global_step, "samples": self._samples(state.global_step - 1)})

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if not state.is_world_process_zero or not logs:
            return
        now, tokens = time.monotonic(), self.trainer.tokens_seen
        made: dict[str, Any] = {
            name: value for name, value in logs.items() if name in NUMBERS or name.startswith("perplexity/")
        }
        if "loss" in made:
            elapsed = max(now - self._since, 1e-9)
            made["tokens_per_second"] = round((tokens - self._tokens_then) / elapsed, 1)
            made["seconds"] = round(elapsed, 2)
            made["memory"] = logs["memory"] = _memory()
            logs["tokens_per_second"] = made["tokens_per_second"]  # for the callbacks that follow
            self._since, self._tokens_then = now, tokens
        if made:
            append(self._file, {"step": state.global_step, "total_steps": state.max_steps, "memory": _memory()} | made)


class Before(TrainerCallback):
    """The validation losses of the untrained model, measured once and kept for a run that is gone on with.

    As training begins, not before: weights that ZeRO shares out are whole only once it has them in hand.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step or any_rank(args, self._file.is_file()):
            return
        losses = self.trainer.validation_losses()
        if args.should_save:
            temporary = self._file.with_suffix(".tmp.npy")
            np.save(temporary, losses)
            temporary.replace(self._file)

    def read(self) -> np.ndarray | None:
        return np.load(self._file) if self._file.is_file() else None


class GiveBackMemory(TrainerCallback):
    """Main memory of a training on a processor, under glibc.

    Each pass asks for blocks of ever different sizes. Taken from the kernel and given back each time, clearing their
    pages costs a fifth of the time; kept, they add up in pieces, by about 100 MB a step. So they are kept, and given
    back when they come to a tenth more than the first steps needed.
    """

    GROWTH = 1.1
    FIRST = 3
    """Steps."""
    TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # malloc.h
    NEVER = 2**31 - 1  # bytes: as good as

    def __init__(self) -> None:
        self._steps, self._most = 0, 0.0
        self._library: Any = None
        if sys.platform == "linux":
            with contextlib.suppress(OSError, AttributeError):
                library = ctypes.CDLL("libc.so.6")
                self._library = library if library.mallopt and library.malloc_trim else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._library is not None and args.device.type == "cpu":
            self._library.mallopt(self.MMAP_THRESHOLD, self.NEVER)
            self._library.mallopt(self.TRIM_THRESHOLD, self.NEVER)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._library is None or args.device.type != "cpu":
            return
        held = _memory()
        self._steps += 1
        if self._steps <= self.FIRST:
            self._most = max(self._most, self.GROWTH * held)
        elif held > self._most:
            self._library.malloc_trim(0)


class StopWhenAsked(TrainerCallback):
    """SIGTERM, SIGINT and a file named `stop`: finish the step, save, end. So a pause loses nothing.

    What one rank was asked, all do at the same step: they couldn't go on without it.
    """

    def __init__(self, out: Path) -> None:
        self.asked = False
        self._file = out / STOP
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask)

    def _ask(self, *_: Any) -> None:
        self.asked = True

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.asked = any_rank(args, self.asked or self._file.exists())
        if self.asked:
            control.should_save = control.should_training_stop = True


class StopAtNaN(TrainerCallback):
    """Ends before a spoiled checkpoint is written; the last good one stays."""

    def __init__(self) -> None:
        self.step: int | None = None
        self.before = False
        """The loss itself was none: then the step before left weights that give none."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        loss, norm = (logs or {}).get("loss", 0.0), (logs or {}).get("grad_norm", 0.0)
        # in fp16 gradients overflow now and then, and such a step is left out
        if not math.isfinite(loss) or not (args.fp16 or math.isfinite(norm)):
            self.step, self.before = state.global_step, not math.isfinite(loss)
            control.should_training_stop, control.should_save = True, False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.step is not None:
            control.should_save = False

    def refuse(self, args: Any, out: Path) -> None:
        """Raises UserError once a loss was no number; the checkpoint that gives none is removed, if another stays."""
        if self.step is None:
            return
        if self.before and args.should_save and len(checkpoints.whole_in(out)) > 1:
            checkpoints.remove(out / f"checkpoint-{self.step - 1}")
        raise UserError(
            "The loss was no number at step {step}, so training stopped; the last checkpoint before it is kept.",
            remedy="Lower the learning rate, or raise the warm-up, and go on from the last checkpoint.",
            step=self.step,
        )


def any_rank(args: Any, asked: bool) -> bool:
    """Whether any of the ranks was asked: all get the same answer."""
    if args.world_size == 1:
        return asked
    import torch

    told = torch.tensor(int(asked), device=args.device)
    torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
    return bool(told)


def append(file: Path, row: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(row) + "\n")


def forget_after(file: Path, step: int) -> None:
    if not file.is_file():
        return
    kept = []
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):  # a line torn by a kill
            continue
    temporary = file.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    temporary.replace(file)


def _memory() -> int:
    """Bytes of main memory that this process holds."""
    return psutil.Process().memory_info().rss
