"""`python -m train.finetune --request FILE`: one process of a fine-tuning, alone or as a rank among others.

Started by core.launchers (directly, or through torchrun, accelerate or deepspeed), which follows
`metrics.jsonl`. What is left in the folder at the end: the adapter or the model, its cards, `result.json`.
"""

from __future__ import annotations

import argparse
import errno
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core import models
from core.errors import UserError
from core.inference import prompting
from core.launchers import memory, settle
from core.launchers.contract import RESULT
from core.launchers.finetune import FinetuneRequest
from train import adapters, cards, checkpoints, prepare
from train.leaks import packing_is_exact
from train.packing import Plan, Row, groups_of
from train.samples import Store

ROW_TOKENS = 512  # attention over longer rows costs more than filling them saves
PASS_TOKENS = 2048
WINDOW = 100_000  # samples
WORTH_COMPILING = 100  # passes: fewer take less time than compiling


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--deepspeed-config", type=Path)
    given, _ = parser.parse_known_args()
    request = FinetuneRequest.model_validate_json(given.request.read_text(encoding="utf-8"))
    try:
        with room(request.out):
            train(request, deepspeed=given.deepspeed_config)
    except UserError as error:
        print(f"UserError: {json.dumps(error.to_dict(), ensure_ascii=False)}", file=sys.stderr, flush=True)
        return 1
    return 0


@contextmanager
def room(out: Path) -> Iterator[None]:
    """A disk that fills up anywhere else than at a checkpoint (checkpoints.room_for)."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            "The disk of {out} is full.", remedy="Make room on it, and go on from the last checkpoint.", out=out
        ) from error


def train(request: FinetuneRequest, *, deepspeed: Path | None = None) -> None:
    """Raises UserError for what the data, the base or the machine can't do."""
    import torch
    from transformers import AutoTokenizer, set_seed

    from train.callbacks import GiveBackMemory, Metrics, StopAtNaN, StopWhenAsked
    from train.trainer import AnswersOnly, PackedTrainer, Passes

    base, card = base_of(request.base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = settle.precision(request.precision, settle.here(), device == "cuda")
    settle.refuse_too_long(memory.shape(base), request)
    settings = arguments(request, device, precision, deepspeed)
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
    packs = request.packing and packing_is_exact(model, store, pad)
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
    metrics, stop, no_number = Metrics(request.out, plan, store), StopWhenAsked(request.out), StopAtNaN()
    trainer = PackedTrainer(
        store=store,
        pad=pad,
        packs=packs,
        keep=request.keep,
        answers=answers,
        validation=held_out,
        validation_store=validation,
        model=model,
        args=settings,
        train_dataset=Passes(plan),
        eval_dataset=Passes(plan) if request.eval_every else None,  # asked for by the Trainer; evaluate() reads its own
        processing_class=tokenizer,
        callbacks=[metrics, stop, no_number, GiveBackMemory(), *_charts()],  # charts last: they take what metrics adds
    )
    metrics.trainer = trainer
    say(
        settings, f"{plan.steps} steps of {request.batch} samples, {plan.passes} passes each; form {form}, {precision}."
    )
    checkpoint = checkpoints.chosen(request.out, request.resume)
    before = losses_before(request, trainer) if validation else None
    if settings.should_save:
        checkpoints.forget_after(request.out, checkpoints.step_of(checkpoint) if checkpoint else 0)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if no_number.step is not None:
        if no_number.before and settings.should_save and len(checkpoints.whole_in(request.out)) > 1:
            checkpoints.remove(request.out / f"checkpoint-{no_number.step - 1}")
        raise UserError(
            "The loss was no number at step {step}, so training stopped; the last checkpoint before it is kept.",
            remedy="Lower the learning rate, or raise the warm-up, and go on from the last checkpoint.",
            step=no_number.step,
        )
    if stop.asked and trainer.state.global_step < plan.steps:
        say(settings, f"Stopped after step {trainer.state.global_step}; its checkpoint is kept.")
        return
    after = trainer.validation_losses() if validation else None
    finish(request, trainer, tokenizer, account, form, before, after, base)


def tell_plan(settings: Any, plan: Plan) -> None:
    """The plan's numbers, where the Trainer and DeepSpeed look for them: both took theirs before it was made."""
    settings.gradient_accumulation_steps, settings.max_steps = plan.passes, plan.steps
    plugin = getattr(settings, "deepspeed_plugin", None)
    if plugin is not None:
        plugin.gradient_accumulation_steps = plan.passes
        for config in (settings.hf_deepspeed_config.config, plugin.deepspeed_config):
            config["gradient_accumulation_steps"] = plan.passes


def base_of(reference: str) -> tuple[Path, models.Card]:
    """The Hugging Face folder of a model reference, and its card. Raises UserError: a GGUF file alone."""
    folder = settle.base_folder(reference)
    return folder, models.card_of(folder)


def arguments(request: FinetuneRequest, device: str, precision: str, deepspeed: Path | None) -> Any:
    from transformers import TrainingArguments

    schedule = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}[request.schedule]
    return TrainingArguments(
        output_dir=str(request.out),
        per_device_train_batch_size=1,  # one planned pass
        max_steps=1,  # set when the plan is made
        learning_rate=request.learning_rate,
        lr_scheduler_type=schedule,
        warmup_steps=request.warmup,
        weight_decay=request.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=request.max_grad_norm,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=device == "cpu",
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=request.save_every,
        eval_strategy="steps" if request.eval_every else "no",
        eval_steps=request.eval_every or None,
        seed=request.seed,
        data_seed=request.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=[],
        deepspeed=str(deepspeed) if deepspeed else None,
        ddp_backend="gloo" if device == "cpu" and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=False,
    )


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


def losses_before(request: FinetuneRequest, trainer: Any) -> np.ndarray:
    """The validation losses of the untrained model: measured once, kept for a run that is resumed."""
    file = request.out / "data" / "before.npy"
    if file.is_file():
        return np.load(file)
    losses = trainer.validation_losses()
    if trainer.args.should_save:
        temporary = file.with_suffix(".tmp.npy")
        np.save(temporary, losses)
        temporary.replace(file)
    return losses


def finish(
    request: FinetuneRequest,
    trainer: Any,
    tokenizer: Any,
    account: prepare.Account,
    form: str,
    before: np.ndarray | None,
    after: np.ndarray | None,
    base: Path,
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
    store = trainer.store
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


def say(settings: Any, line: str) -> None:
    if settings.process_index == 0:
        print(line, flush=True)


def _charts() -> list[Any]:
    """TensorBoard's files, where it is installed."""
    import importlib.util

    if importlib.util.find_spec("tensorboard") is None:
        return []
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback()]


if __name__ == "__main__":
    os.environ.update(models.OFFLINE)
    # bitsandbytes, which PEFT imports where it is installed, advises to install what would fetch code from a hub
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
