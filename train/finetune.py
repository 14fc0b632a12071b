"""`python -m train.finetune --request FILE`: one process of a fine-tuning, alone or as a rank among others.

Started by core.launchers (directly, or through torchrun, accelerate or deepspeed), which follows
`metrics.jsonl`. What is left in the folder at the end: the adapter or the model, its cards, `result.json`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from core import models
from core.inference import prompting
from core.launchers import memory, settle
from core.launchers.contract import RESULT
from core.launchers.finetune import FinetuneRequest
from train import adapters, cards, checkpoints, entry, prepare
from train.entry import say
from train.leaks import keeps_samples_apart
from train.packing import Plan, Row, groups_of
from train.samples import Store

ROW_TOKENS = 512  # attention over longer rows costs more than filling them saves
PASS_TOKENS = 2048
WINDOW = 100_000  # samples
WORTH_COMPILING = 100  # passes: fewer take less time than compiling


def train(request: FinetuneRequest, *, deepspeed: Path | None = None) -> None:
    """Raises UserError for what the data, the base or the machine can't do."""
    import torch
    from transformers import AutoTokenizer, set_seed

    from train.arguments import arguments, charts, tell_plan
    from train.callbacks import Before, GiveBackMemory, Metrics, StopAtNaN, StopWhenAsked
    from train.collate import tensors
    from train.trainer import AnswersOnly, PackedTrainer, Passes

    base, card = base_of(request.base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = settle.precision(request.precision, settle.here(), device == "cuda")
    settle.refuse_too_long(memory.shape(base), request)
    settings = arguments(request, device=device, precision=precision, deepspeed=deepspeed)
    if settings.should_save:  # of an earlier run: this one is not finished until it says so itself
        (request.out / RESULT).unlink(missing_ok=True)
    set_seed(request.seed)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    form = prepare.form_of(request, card.prompt_form, tokenizer)
    with settings.main_process_first(desc="preparing the data"):
        store, validation, account = prepare.stores(request, tokenizer, form, request.out / "data")
    say(settings, data_summary(account))

    model = adapters.load(
        base,
        method=request.method,
        precision=precision,
        checkpointing=request.gradient_checkpointing == "on",
        device=device,
    )
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    packs = request.packing and keeps_samples_apart(model, store, pad)
    if request.packing and not packs:
        say(settings, "This model lets packed samples see each other, so each is passed in a row of its own.")
    model = adapters.attach(
        model,
        method=request.method,
        rank=request.rank,
        alpha=request.alpha,
        dropout=request.dropout,
        wanted=request.target_modules,
        begun=request.adapter,
    )
    answers = AnswersOnly(model)
    plan = plan_of(request, store, ranks=settings.world_size, packs=packs)
    if compiles(request, device, plan, deepspeed):
        say(settings, "Compiling the model's layers; the first pass takes about half a minute.")
        adapters.compile_layers(model)
    tell_plan(settings, plan)
    held_out = rows_of(validation, packs=packs) if validation else []
    metrics = Metrics(request.out, epochs=plan.epochs_at, samples=plan.step)
    stop, no_number, before = StopWhenAsked(request.out), StopAtNaN(), Before(request.out / "data" / "before.npy")
    trainer = PackedTrainer(
        collate=partial(tensors, store=store, pad=pad, packs=packs),
        collate_held=partial(tensors, store=validation, pad=pad, packs=packs) if validation else None,
        keep=request.keep,
        answers=answers,
        validation=held_out,
        validated=len(validation) if validation else 0,
        model=model,
        args=settings,
        train_dataset=Passes(plan),
        eval_dataset=Passes(plan) if request.eval_every else None,  # asked for by the Trainer; evaluate() reads its own
        processing_class=tokenizer,
        # charts last: they take what metrics adds
        callbacks=[before, metrics, stop, no_number, GiveBackMemory(), *charts()],
    )
    metrics.trainer = before.trainer = trainer
    say(
        settings, f"{plan.steps} steps of {request.batch} samples, {plan.passes} passes each; form {form}, {precision}."
    )
    checkpoint = checkpoints.chosen(request.out, request.resume)
    if settings.should_save:
        checkpoints.forget_after(request.out, checkpoints.step_of(checkpoint) if checkpoint else 0)
    trainer.train_from(checkpoint)
    no_number.refuse(settings, request.out)
    if stop.asked and trainer.state.global_step < plan.steps:
        say(settings, f"Stopped after step {trainer.state.global_step}; its checkpoint is kept.")
        return
    after = trainer.validation_losses() if validation else None
    finish(request, trainer, tokenizer, account, form, before.read() if validation else None, after, base, store)


def base_of(reference: str) -> tuple[Path, models.Card]:
    """The Hugging Face folder of a model reference, and its card. Raises UserError: a GGUF file alone."""
    folder = settle.base_folder(reference)
    return folder, models.card_of(folder)


def plan_of(request: FinetuneRequest, store: Store, *, ranks: int, packs: bool) -> Plan:
    lengths = store.lengths
    if packs and request.share_prefix:
        groups = [group for start in range(0, len(store), WINDOW) for group in shared_in(store, start)]
    else:
        groups = [((number,), 0) for number in range(len(store))]
    return Plan(
        lengths=lengths,
        groups=tuple(groups),
        seed=request.seed,
        epochs=request.epochs,
        batch=request.batch,
        width=max(int(lengths.max()), min(request.max_length, ROW_TOKENS)) if packs else 1,
        pass_tokens=request.micro_batch_tokens or PASS_TOKENS,
        ranks=ranks,
        max_steps=request.max_steps,
    )


def shared_in(store: Store, start: int) -> list[tuple[tuple[int, ...], int]]:
    """Groups among WINDOW samples: of all of a large file at once, the sorted tokens would fill the memory."""
    numbers = range(start, min(start + WINDOW, len(store)))
    limits = np.asarray([int(np.argmax(store.mask(number))) for number in numbers])
    made = groups_of([store.tokens(number) for number in numbers], limits)
    return [(tuple(number + start for number in members), shared) for members, shared in made]


def rows_of(store: Store, *, packs: bool) -> list[list[Row]]:
    """Validation samples in passes."""
    plan = Plan(
        lengths=store.lengths,
        groups=tuple(((number,), 0) for number in range(len(store))),
        seed=0,
        epochs=1,
        batch=64,
        width=max(int(store.lengths.max()), ROW_TOKENS) if packs else 1,
        pass_tokens=PASS_TOKENS,
    )
    return [rows for step in range(plan.steps) for rows in plan.dealt(step) if rows]


def compiles(request: FinetuneRequest, device: str, plan: Plan, deepspeed: Path | None) -> bool:
    """Whether layers are compiled: where asked for, or where it can be and pays."""
    if request.compile != "auto":
        return request.compile == "on"
    if request.method == "qlora":  # untried: its layers' products are opaque to the compiler
        return False
    return deepspeed is None and plan.steps * plan.passes >= WORTH_COMPILING and adapters.can_compile(device)


def finish(
    request: FinetuneRequest,
    trainer: Any,
    tokenizer: Any,
    account: prepare.Account,
    form: str,
    before: np.ndarray | None,
    after: np.ndarray | None,
    base: Path,
    store: Store,
) -> None:
    from train import verdict
    from train.reload import says_the_same

    with checkpoints.room_for("The trained model", request.out):
        trainer.save_model(str(request.out))
    if not trainer.args.should_save:
        return
    if form == "alpaca":
        tokenizer.chat_template = prompting.alpaca_template(tokenizer)
    tokenizer.save_pretrained(request.out)
    judged = verdict.compare(before, after) if before is not None and after is not None else None
    same = says_the_same(request, trainer, base)
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    result = {
        "steps": trainer.state.global_step,
        "loss": losses[-1] if losses else None,
        "eval_loss": judged.after if judged else None,
        "tokens": trainer.tokens_seen,
        "verdict": {**asdict(judged), "word": judged.word} if judged else None,
        "reloaded_equal": same,
        "form": form,
        "data": account.__dict__,
    }
    asks = [tokenizer.decode(store.tokens(number)[:100]) for number in range(min(len(store), 200))]
    cards.write(request, result, base, extracts=cards.asks_for_extraction(asks))
    temporary = request.out / (RESULT + ".tmp")
    temporary.write_text(json.dumps(result, indent=2), encoding="utf-8")
    temporary.replace(request.out / RESULT)
    if same is False:
        say(trainer.args, "What was saved says something else than what was trained: do not rely on it.")
    if judged:
        say(trainer.args, f"Validation loss {judged.before:.4f} -> {judged.after:.4f}: {judged.word}.")


def data_summary(account: prepare.Account) -> str:
    told = [
        f"{account.trained} samples to train on ({account.tokens} tokens, {account.learned} of them learned), "
        f"{account.validated} for validation; {account.doubles} doubles, {account.leaks} leaks left out, "
        f"{account.refused} rows refused."
    ]
    return "\n".join([*told, *prepare.told(account)])


if __name__ == "__main__":
    entry.quiet()
    sys.exit(entry.run(FinetuneRequest, train, __doc__))
