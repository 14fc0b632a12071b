"""transformers' Trainer for planned, packed passes: the loss at answers only, exact resume, checkpoints that are whole.

What differs from the Trainer as it comes: a "batch" is one forward pass of the plan (packing.py); logits are
computed only where something is learned; the loss is the mean over all learned tokens of an optimiser step,
over all ranks; a checkpoint counts once `complete.json` stands in it, written last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from train.collate import tensors
from train.packing import Plan, Row
from train.samples import Store

COMPLETE = "complete.json"


class Passes(Dataset):
    """Forward pass i of a plan, as rows: pass `i % (passes * ranks)` of optimiser step `i // (passes * ranks)`."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._held: tuple[int, list[list[Row]]] = (-1, [])

    def __len__(self) -> int:
        return self._plan.steps * self._plan.passes * self._plan.ranks

    def __getitem__(self, number: int) -> list[Row]:
        step, within = divmod(number, self._plan.passes * self._plan.ranks)
        if self._held[0] != step:
            self._held = (step, self._plan.dealt(step))
        return self._held[1][within]


class AnswersOnly:
    """Makes a model compute logits for chosen positions only: its head gets (1, N, hidden) instead of (B, L, hidden).

    Works for any causal LM, since it stands at the head's door; under DDP and ZeRO too, since it is within forward.
    """

    def __init__(self, model: Any) -> None:
        self._where: torch.Tensor | None = None
        head = model.get_output_embeddings()
        head.register_forward_pre_hook(self._choose)

    @contextmanager
    def at(self, where: torch.Tensor) -> Iterator[None]:
        """`where` (N,): indices into B*L."""
        self._where = where
        try:
            yield
        finally:
            self._where = None

    def _choose(self, _head: Any, inputs: tuple[Any, ...]) -> Any:
        if self._where is None:
            return None
        hidden = inputs[0]
        return (hidden.reshape(1, -1, hidden.shape[-1])[:, self._where], *inputs[1:])


class PackedTrainer(Trainer):
    """`train_dataset` is a `Passes`; `store` holds the samples' tokens."""

    def __init__(
        self,
        *,
        store: Store,
        pad: int,
        answers: AnswersOnly,
        validation: list[list[Row]],
        validation_store: Store | None,
        **rest: Any,
    ) -> None:
        super().__init__(data_collator=lambda passes: tensors(passes[0], store, pad), **rest)
        self._answers, self._validation, self._pad = answers, validation, pad
        self._validation_store = validation_store
        self.loss_is_scaled_for_ga = True
        self.tokens_seen = 0

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(cast(Passes, train_dataset or self.train_dataset))

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """An optimiser step's passes, and how many tokens they teach over all ranks."""
        passes = [made for _, made in zip(range(num_batches), epoch_iterator, strict=False)]
        learned = torch.tensor(sum(len(made["targets"]) for made in passes), device=device)
        self.tokens_seen += sum(int(made["tokens"]) for made in passes)
        if self.args.world_size > 1:
            learned = self.accelerator.gather(learned).sum()
        return passes, learned

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = self._nll(model, inputs).sum() / num_items_in_batch
        loss = loss * self.accelerator.num_processes  # gradients are averaged over the ranks
        return (loss, None) if return_outputs else loss

    def _nll(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """Negative log likelihood (nats) of each learned token, (N,) in fp32."""
        where, targets = inputs["predicts"], inputs["targets"]
        if not len(where):  # a pass without anything to learn still takes part, as every rank must
            where, targets = torch.zeros(1, dtype=torch.long, device=where.device), None
        with self._answers.at(where):
            logits = model(
                input_ids=inputs["input_ids"],
                position_ids=inputs["position_ids"],
                attention_mask=inputs["attention_mask"],
                use_cache=False,
            ).logits[0]
        if targets is None:
            return logits.float().sum(-1) * 0
        return torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """The loss on the validation part, a token; {} without one."""
        if not self._validation:
            return {}
        nats, tokens = self.validation_losses().sum(0)
        metrics = {"eval_loss": float(nats / max(1, tokens))}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.no_grad()
    def validation_losses(self) -> np.ndarray:
        """(samples, 2): each validation sample's nats and learned tokens. Every rank computes all: sharded weights
        need them all."""
        model, store = self.model_wrapped, self._validation_store
        if store is None:
            return np.zeros((0, 2))
        made = np.zeros((len(store), 2))
        was_training = model.training
        model.eval()
        for rows in self._validation:
            inputs = {name: value.to(self.args.device) for name, value in tensors(rows, store, self._pad).items()}
            with self._autocast():
                losses = self._nll(model, inputs).double().cpu().numpy()
            of = inputs["of"].cpu().numpy()
            made[:, 0] += np.bincount(of, losses, len(made))
            made[:, 1] += np.bincount(of, minlength=len(made))
        model.train(was_training)
        return made

    def _autocast(self) -> Any:
        """What accelerate wraps the model in once training begins; asked for here since it may not have begun."""
        dtype = torch.bfloat16 if self.args.bf16 else torch.float16
        return torch.autocast(self.args.device.type, dtype, enabled=self.args.bf16 or self.args.fp16)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = Path(self._get_output_dir(trial)) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            complete(folder)

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0


def complete(folder: Path) -> None:
    """Mark a checkpoint as whole: every file on disk, then their sizes in `complete.json`, by rename."""
    sizes = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
            sizes[str(file.relative_to(folder))] = file.stat().st_size
    temporary = folder / (COMPLETE + ".tmp")
    with temporary.open("w", encoding="utf-8") as handle:
        json.dump(sizes, handle)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.replace(folder / COMPLETE)


def is_complete(folder: Path) -> bool:
    try:
        sizes = json.loads((folder / COMPLETE).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
