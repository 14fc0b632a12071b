"""transformers' Trainer for planned passes: loss where something is learned, exact resume, whole checkpoints.

What differs from the Trainer as it comes: a "batch" is one forward pass of a plan (packing.py, pretrain_data.py);
logits are computed only where something is learned; the loss is the mean over all learned tokens of an optimiser
step, over all ranks; going on from a checkpoint reads nothing of what came before it; a checkpoint counts once it is
whole (checkpoints.py), and older ones go only then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from core.errors import UserError
from train import checkpoints, zero
from train.callbacks import any_rank

GIVEN = ("input_ids", "position_ids", "attention_mask")
ASKED = ("initial_lr", "weight_decay", "betas", "eps")
Collate = Callable[[list[Any]], dict[str, Any]]
PERPLEXITY = "perplexity/"
"""What stands before a part's name among the metrics."""


class Plan(Protocol):
    """What is learned when. `passes`: forward passes an optimiser step and rank."""

    @property
    def steps(self) -> int: ...

    @property
    def passes(self) -> int: ...

    @property
    def ranks(self) -> int: ...

    def dealt(self, number: int) -> list[list[Any]]:
        """The `passes * ranks` forward passes of optimiser step `number`; an empty one teaches nothing."""


class Passes(Dataset):
    """Forward pass i of a plan: pass `i % (passes * ranks)` of optimiser step `i // (passes * ranks)`."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._held: tuple[int, list[list[Any]]] = (-1, [])

    def __len__(self) -> int:
        return self.plan.steps * self.plan.passes * self.plan.ranks

    def __getitem__(self, number: int) -> list[Any]:
        step, within = divmod(number, self.plan.passes * self.plan.ranks)
        if self._held[0] != step:
            self._held = (step, self.plan.dealt(step))
        return self._held[1][within]


class FromStep(Sampler):
    """All passes of a plan from `first` on, in their order; its length is that of the whole."""

    def __init__(self, first: int, count: int) -> None:
        self._first, self._count = first, count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._first, self._count))

    def __len__(self) -> int:
        return self._count


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
    """`train_dataset` is a `Passes`, whose passes `collate` turns into tensors (collate.py says which).

    `validation`: passes over `validated` samples, for `collate_held` where that isn't `collate`; `parts`: which of
    the samples have a perplexity of their own, by name. `keep`: checkpoints, the newest; `keep_every`: beside them,
    those of every so many steps.
    """

    def __init__(
        self,
        *,
        collate: Collate,
        collate_held: Collate | None = None,
        answers: AnswersOnly,
        keep: int,
        keep_every: int = 0,
        validation: Sequence[list[Any]] = (),
        validated: int = 0,
        parts: Mapping[str, np.ndarray] | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(data_collator=lambda passes: collate(passes[0]), **rest)
        self._collate_held, self._answers = collate_held or collate, answers
        self._keep, self._keep_every = keep, keep_every
        self._validation, self._validated, self._parts = validation, validated, parts or {}
        self._first_pass = 0
        self._numbers_of: str | None = None
        self._asked: list[dict[str, Any]] = []
        self.consumed = np.zeros((0, 0), np.int64)
        """(ranks, samples): which samples each rank learns from in this step, -1 where it has fewer than others."""
        self.loss_is_scaled_for_ga = True

    def train_from(self, checkpoint: Path | None) -> None:
        """From the beginning, or from a checkpoint: at once at its next step, whatever was passed before."""
        plan = cast(Passes, self.train_dataset).plan
        step = checkpoints.step_of(checkpoint) if checkpoint else 0
        self._first_pass = step * plan.passes * plan.ranks
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)

    @property
    def tokens_seen(self) -> int:
        """By all ranks, since the first step: the state is kept in checkpoints."""
        return self.state.num_input_tokens_seen

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        return FromStep(self._first_pass, len(cast(Passes, train_dataset or self.train_dataset)))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Put off until the first passes are read: what reads them draws a number, too."""
        self._numbers_of = checkpoint

    def get_batch_samples(self, epoch_iterator: Iterator, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """An optimiser step's passes, and how many tokens they teach over all ranks."""
        passes = [made for _, made in zip(range(num_batches), epoch_iterator, strict=False)]
        if self._numbers_of is not None:
            super()._load_rng_state(self._numbers_of)
            self._numbers_of = None
        learned, tokens = (sum(len(made["targets"]) for made in passes), sum(int(made["tokens"]) for made in passes))
        told = torch.tensor([learned, tokens], device=device)
        if passes and "samples" in passes[0]:
            told = torch.cat([told, *(made.pop("samples").to(device) for made in passes)])
        if self.args.world_size > 1:
            told = self.accelerator.gather(told)
        rows = told.reshape(max(1, self.args.world_size), -1)
        self.consumed = rows[:, 2:].cpu().numpy()
        counts = rows[:, :2].sum(0)
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
        metrics = self.summed(self.validation_losses())
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def summed(self, losses: np.ndarray) -> dict[str, float]:
        """`eval_loss` of all, in nats a token, and the perplexity of each part."""
        nats, tokens = losses.sum(0)
        made = {"eval_loss": float(nats / max(1, tokens))}
        for name, where in self._parts.items():
            nats, tokens = losses[where].sum(0)
            made[PERPLEXITY + name] = float(np.exp(nats / max(1, tokens)))
        return made

    @torch.no_grad()
    def validation_losses(self) -> np.ndarray:
        """(samples, 2): each validation sample's nats and learned tokens. The ranks share the passes, each as many:
        sharded weights need them all at once."""
        model, ranks = self.model_wrapped, max(1, self.args.world_size)
        made = torch.zeros(self._validated, 2, dtype=torch.float64)
        was_training = model.training
        model.eval()
        for start in range(0, len(self._validation), ranks):
            mine = start + (self.args.process_index if ranks > 1 else 0)
            made_of = self._collate_held(self._validation[min(mine, len(self._validation) - 1)])
            made_of.pop("samples", None)
            inputs = {name: value.to(self.args.device) for name, value in made_of.items()}
            with self._autocast():
                losses = self._nll(model, inputs).double().cpu()
            if mine < len(self._validation):
                of = inputs["of"].cpu()
                made[:, 0].index_add_(0, of, losses[: len(of)])
                made[:, 1] += torch.bincount(of, minlength=self._validated)
        model.train(was_training)
        if ranks > 1:
            made = made.to(self.args.device)
            torch.distributed.all_reduce(made)
        return made.cpu().numpy()

    def _autocast(self) -> Any:
        """What accelerate wraps the model in once training begins; asked for here since it may not have begun."""
        dtype = torch.bfloat16 if self.args.bf16 else torch.float16
        return torch.autocast(self.args.device.type, dtype, enabled=self.args.bf16 or self.args.fp16)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        out = Path(self._get_output_dir(trial))
        folder = out / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        if self.args.should_save:
            checkpoints.remove(folder)
        checkpoints.refuse_without_room(folder, any_rank=lambda short: any_rank(self.args, short))
        self.accelerator.wait_for_everyone()
        try:
            with checkpoints.room_for(folder.name, out):
                super()._save_checkpoint(model, trial)
                self.accelerator.wait_for_everyone()
                if self.args.should_save:
                    zero.sign(folder, self.args.world_size)
                    checkpoints.complete(folder)
        except UserError:
            checkpoints.remove(folder)
            raise
        if self.args.should_save:
            checkpoints.keep_newest(out, self._keep, self._keep_every)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        made = super().create_scheduler(num_training_steps, optimizer)
        groups = cast(torch.optim.Optimizer, self.optimizer).param_groups
        self._asked = [{name: group[name] for name in ASKED if name in group} for group in groups]
        return made

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """The optimizer's state is the checkpoint's; its settings are those asked for now, which may have changed."""
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        if self.is_deepspeed_enabled:
            zero.give_each_its_step(self.model_wrapped)
        optimizer, asked = cast(torch.optim.Optimizer, self.optimizer), self._asked
        scheduler = cast(Any, self.lr_scheduler)
        scheduler.base_lrs = [group["initial_lr"] for group in asked]
        for group, now, rate in zip(optimizer.param_groups, asked, scheduler.lr_lambdas, strict=True):
            group.update(now)
            group["lr"] = now["initial_lr"] * rate(scheduler.last_epoch)
        scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0
