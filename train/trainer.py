"""transformers' Trainer for planned, packed passes: the loss at answers only, exact resume, checkpoints that are whole.

What differs from the Trainer as it comes: a "batch" is one forward pass of the plan (packing.py); logits are
computed only where something is learned; the loss is the mean over all learned tokens of an optimiser step,
over all ranks; a checkpoint counts once it is whole (checkpoints.py), and older ones go only then.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import Dataset, SequentialSampler
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from core.errors import UserError
from train import checkpoints
from train.collate import tensors
from train.packing import Plan, Row
from train.samples import Store

GIVEN = ("input_ids", "position_ids", "attention_mask")
ASKED = ("initial_lr", "weight_decay", "betas", "eps")


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
    """`train_dataset` is a `Passes`; `store` holds the samples' tokens; `keep`: checkpoints, the newest."""

    def __init__(
        self,
        *,
        store: Store,
        pad: int,
        packs: bool,
        keep: int,
        answers: AnswersOnly,
        validation: list[list[Row]],
        validation_store: Store | None,
        **rest: Any,
    ) -> None:
        super().__init__(data_collator=lambda passes: tensors(passes[0], store, pad, packs=packs), **rest)
        self.store = store
        self._answers, self._validation, self._pad, self._packs, self._keep = answers, validation, pad, packs, keep
        self._validation_store = validation_store
        self.loss_is_scaled_for_ga = True

    @property
    def tokens_seen(self) -> int:
        """By all ranks, since the first step: the state is kept in checkpoints."""
        return self.state.num_input_tokens_seen

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return SequentialSampler(cast(Passes, train_dataset or self.train_dataset))

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """An optimiser step's passes, and how many tokens they teach over all ranks."""
        passes = [made for _, made in zip(range(num_batches), epoch_iterator, strict=False)]
        learned, tokens = (sum(len(made["targets"]) for made in passes), sum(int(made["tokens"]) for made in passes))
        counts = torch.tensor([learned, tokens], device=device)
        if self.args.world_size > 1:
            counts = self.accelerator.gather(counts).reshape(-1, 2).sum(0)
        self.state.num_input_tokens_seen += int(counts[1])
        return passes, counts[0]

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
            given = {name: inputs[name] for name in GIVEN if name in inputs}
            logits = model(**given, use_cache=False).logits[0]
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
            made_of = tensors(rows, store, self._pad, packs=self._packs)
            inputs = {name: value.to(self.args.device) for name, value in made_of.items()}
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
        out = Path(self._get_output_dir(trial))
        folder = out / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            checkpoints.remove(folder)
        self.accelerator.wait_for_everyone()
        try:
            with checkpoints.room_for(folder.name, out):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    checkpoints.complete(folder)
        except UserError:
            checkpoints.remove(folder)
            raise
        if self.args.should_save:
            checkpoints.keep_newest(out, self._keep)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """The optimizer's state is the checkpoint's; its settings are those asked for now, which may have changed."""
        optimizer = cast(torch.optim.Optimizer, self.optimizer)
        asked = [{name: group[name] for name in ASKED if name in group} for group in optimizer.param_groups]
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None or self.is_deepspeed_enabled:
            return
        scheduler = cast(Any, self.lr_scheduler)
        scheduler.base_lrs = [group["initial_lr"] for group in asked]
        for group, now, rate in zip(optimizer.param_groups, asked, scheduler.lr_lambdas, strict=True):
            group.update(now)
            group["lr"] = now["initial_lr"] * rate(scheduler.last_epoch)
        scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0
