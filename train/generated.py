"""Texts that a model in training goes on writing, every so many steps: what a falling loss looks like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from train.callbacks import append, forget_after

FILE = "written.jsonl"
TEMPERATURE, TOP_P = 0.8, 0.95


class Writes(TrainerCallback):
    """Appends {step, prompt, text} to written.jsonl. All ranks write along: with ZeRO-3 none could alone.

    The numbers that chance needs are drawn apart: a training that writes learns the same as one that doesn't.
    """

    def __init__(self, out: Path, prompts: Sequence[Sequence[int]], *, every: int, tokens: int, seed: int) -> None:
        self._file, self._prompts = out / FILE, prompts
        self._every, self._tokens, self._seed = every, tokens, seed
        self.trainer: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            forget_after(self._file, state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not self._every or (state.global_step % self._every and state.global_step < state.max_steps):
            return
        tokenizer = self.trainer.processing_class
        for prompt in self._prompts:
            ids = self._continued(list(prompt), args.device)
            if state.is_world_process_zero:
                told = {"step": state.global_step, "prompt": tokenizer.decode(prompt), "text": tokenizer.decode(ids)}
                append(self._file, told)

    @torch.no_grad()
    def _continued(self, ids: list[int], device: Any) -> list[int]:
        """The new tokens, up to where the model ends its text. All are made in any case: were a rank to end
        before another, that one would wait for it."""
        model = self.trainer.model_wrapped
        config = self.trainer.accelerator.unwrap_model(model).config
        chance = torch.Generator().manual_seed(self._seed)
        end = self.trainer.processing_class.eos_token_id
        context = getattr(config, "max_position_embeddings", None) or len(ids) + self._tokens
        given, made = ids, []
        was_training = model.training
        model.eval()
        with self.trainer.compute_loss_context_manager():
            for _ in range(min(self._tokens, context - len(ids))):
                # the whole text each time: no cache to differ between kinds of models, and the texts are short
                logits = model(input_ids=torch.tensor([given], device=device), use_cache=False).logits[0, -1]
                made.append(_drawn(logits.float().cpu(), chance))
                given = [*given, made[-1]]
        model.train(was_training)
        return made[: made.index(end)] if end in made else made


def _drawn(logits: torch.Tensor, chance: torch.Generator) -> int:
    """By temperature, among the likeliest tokens that together have TOP_P."""
    shares, order = torch.softmax(logits / TEMPERATURE, -1).sort(descending=True)
    shares[shares.cumsum(-1) - shares > TOP_P] = 0
    return int(order[torch.multinomial(shares, 1, generator=chance)])
