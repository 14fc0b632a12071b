"""`python -m train.finetune --request FILE`: one process of a fine-tuning, alone or as a rank among others.

Started by core.launchers (directly, or through torchrun, accelerate or deepspeed), which follows
`metrics.jsonl`. What is left in the folder at the end: the adapter or the model, its cards, `result.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from core import models
from core.errors import UserError
from core.launchers.finetune import FinetuneRequest
from train import adapters, cards, prepare
from train.packing import Plan, Row, groups_of
from train.samples import Store

REQUEST = "request.json"
ROW_TOKENS = 512  # attention over longer rows costs more than filling them saves
PASS_TOKENS = 2048
WORTH_COMPILING = 100  # passes: fewer take less time than compiling


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--request", type=Path, required=True)
    parser.add_argument("--deepspeed-config", type=Path)
    given, _ = parser.parse_known_args()
    request = FinetuneRequest.model_validate_json(given.request.read_text(encoding="utf-8"))
    try:
        train(request, deepspeed=given.deepspeed_config)
    except UserError as error:
        print(f"UserError: {json.dumps(error.to_dict(), ensure_ascii=False)}", file=sys.stderr, flush=True)
        return 1
    return 0


def train(request: FinetuneRequest, *, deepspeed: Path | None = None) -> None:
    """Raises UserError for what the data, the base or the machine can't do."""
    import torch
    from transformers import AutoTokenizer, set_seed

    from train.callbacks import GiveBackMemory, Metrics, StopAtNaN, StopWhenAsked
    from train.trainer import AnswersOnly, PackedTrainer, Passes

    base, card = base_of(request.base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = precision_of(request, device)
    settings = arguments(request, device, precision, deepspeed)
    set_seed(request.seed)
    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    form = prepare.form_of(request, card.prompt_form if (base.parent / models.CARD).is_file() else None, tokenizer)
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
    too_long_for(model, request)
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
    for config in getattr(model, "peft_config", {}).values():
        config.base_model_name_or_path = request.base  # as the person named it: a name outlives a path
    answers = AnswersOnly(model)
    plan = plan_of(request, store, ranks=settings.world_size, packs=packs)
    if compiles(request, device, plan, deepspeed):
        say(settings, "Compiling the model's layers; the first pass takes about half a minute.")
        adapters.compile_layers(model)
    settings.gradient_accumulation_steps, settings.max_steps = plan.passes, plan.steps
    held_out = rows_of(validation, packs=packs) if validation else []
    metrics, stop, no_number = Metrics(request.out, plan, store), StopWhenAsked(), StopAtNaN()
    trainer = PackedTrainer(
        store=store,
        pad=pad,
        answers=answers,
        validation=held_out,
        validation_store=validation,
        model=model,
        args=settings,
        train_dataset=Passes(plan),
        eval_dataset=Passes(plan) if request.eval_every else None,  # asked for by the Trainer; evaluate() reads its own
        processing_class=tokenizer,
        callbacks=[metrics, stop, no_number, GiveBackMemory()],
    )
    metrics.trainer = trainer
    say(
        settings, f"{plan.steps} steps of {request.batch} samples, {plan.passes} passes each; form {form}, {precision}."
    )
    checkpoint = checkpoint_of(request)
    before = losses_before(request, trainer) if validation else None
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if no_number.step is not None:
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


def base_of(reference: str) -> tuple[Path, models.Card]:
    """The Hugging Face folder of a model reference, and its card. Raises UserError: a GGUF file alone."""
    found = models.resolve(reference)
    if found.format == "gguf" and found.path is not None and (found.path.parent / "hf" / "config.json").is_file():
        return found.path.parent / "hf", found.card
    if found.format != "huggingface" or found.path is None:
        raise UserError(
            "{model} can't be trained: it is not a folder of Hugging Face weights.",
            remedy="Choose the folder with config.json and .safetensors that it was made from.",
            model=reference,
        )
    return found.path, found.card


def precision_of(request: FinetuneRequest, device: str) -> str:
    import torch

    if request.precision == "fp16" and device == "cpu":
        raise UserError("Processors don't train in fp16.", remedy="Choose bf16 or fp32.")
    if request.precision != "auto":
        return request.precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"


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
        save_total_limit=request.keep,
        eval_strategy="steps" if request.eval_every else "no",
        eval_steps=request.eval_every or None,
        seed=request.seed,
        data_seed=request.seed,
        dataloader_num_workers=0,
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
        disable_tqdm=True,
        report_to=["tensorboard"] if _has("tensorboard") else [],
        deepspeed=str(deepspeed) if deepspeed else None,
        ddp_backend="gloo" if device == "cpu" and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        ddp_find_unused_parameters=False,
    )


def plan_of(request: FinetuneRequest, store: Store, *, ranks: int, packs: bool) -> Plan:
    lengths = store.lengths
    starts = np.asarray([int(np.argmax(store.mask(number))) for number in range(len(store))])
    if packs and request.share_prefix:
        groups = groups_of([store.tokens(number) for number in range(len(store))], starts)
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


def packing_is_exact(model: Any, store: Store, pad: int) -> bool:
    """Whether samples side by side get the logits that they get alone, seen on two of the data's own.

    Other tokens in the first may change nothing in the second, to the bit; and what it gets alone may differ
    by rounding only.
    """
    import torch

    from train.collate import tensors
    from train.packing import Group

    if len(store) < 2:
        return True
    first, second = (Group((number,), 0, int(store.lengths[number])) for number in (0, 1))
    learned = int(store.mask(1).sum()) if store.mask(1)[0] == 0 else 1

    def said(row: Row, *, other: bool = False) -> Any:
        inputs = {name: value.to(model.device) for name, value in tensors([row], store, pad).items()}
        ids = inputs["input_ids"]
        if other:
            ids[0, : first.tokens] = ids[0, : first.tokens].flip(0)
        with torch.no_grad():
            given = {name: inputs[name] for name in ("position_ids", "attention_mask")}
            logits = model(input_ids=ids, **given, use_cache=False).logits[0]
        return logits[inputs["predicts"][-learned:]].float()

    was_training = model.training
    model.eval()
    try:
        alone, beside = said(Row((second,))), said(Row((first, second)))
        beside_other = said(Row((first, second)), other=True)
    except (TypeError, ValueError, RuntimeError):  # a model that takes no positions or no such mask
        return False
    finally:
        model.train(was_training)
    same = torch.equal(beside, beside_other)
    return same and bool((alone - beside).abs().mean() < 0.1 * alone.std())


def compiles(request: FinetuneRequest, device: str, plan: Plan, deepspeed: Path | None) -> bool:
    """Whether layers are compiled: where asked for, or where it can be and pays."""
    if request.compile != "auto":
        return request.compile == "on"
    return deepspeed is None and plan.steps * plan.passes >= WORTH_COMPILING and adapters.can_compile(device)


def too_long_for(model: Any, request: FinetuneRequest) -> None:
    context = getattr(model.config, "max_position_embeddings", None)
    if context and request.max_length > context:
        raise UserError(
            "A length of {wanted} tokens is more than this model's context of {context}.",
            remedy="Lower the maximum length to {context}.",
            wanted=request.max_length,
            context=context,
        )


def checkpoint_of(request: FinetuneRequest) -> Path | None:
    """The checkpoint to go on from; unfinished ones are taken away. Raises UserError: not there, or not whole."""
    from train.trainer import is_complete

    found = sorted(request.out.glob("checkpoint-*"), key=lambda folder: int(folder.name.rsplit("-", 1)[1]))
    if not request.resume:
        return None
    if request.resume == "last":
        whole = [folder for folder in found if is_complete(folder)]
        return whole[-1] if whole else None
    chosen = request.out / request.resume
    if not is_complete(chosen):
        raise UserError(
            "The checkpoint {name} is not there, or not whole.",
            remedy="Choose one of: {known}.",
            name=request.resume,
            known=", ".join(folder.name for folder in found if is_complete(folder)) or "–",
        )
    return chosen


def losses_before(request: FinetuneRequest, trainer: Any) -> np.ndarray:
    """The validation losses of the untrained model: measured once, kept for a run that is resumed."""
    file = request.out / "data" / "before.npy"
    if file.is_file():
        return np.load(file)
    losses = trainer.validation_losses()
    if trainer.args.should_save:
        np.save(file, losses)
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

    trainer.save_model(str(request.out))
    if not trainer.args.should_save:
        return
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
    cards.write(request, result, base)
    temporary = request.out / "result.json.tmp"
    temporary.write_text(json.dumps(result, indent=2), encoding="utf-8")
    temporary.replace(request.out / "result.json")
    if judged:
        say(trainer.args, f"Validation loss {judged.before:.4f} -> {judged.after:.4f}: {judged.word}.")


def data_summary(account: prepare.Account) -> str:
    told = [
        f"{account.trained} samples to train on ({account.tokens} tokens, {account.learned} of them learned), "
        f"{account.validated} for validation; {account.doubles} doubles, {account.leaks} leaks left out, "
        f"{account.refused} rows refused."
    ]
    return "\n".join([*told, *account.reasons])


def say(settings: Any, line: str) -> None:
    if settings.process_index == 0:
        print(line, flush=True)


def _has(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
