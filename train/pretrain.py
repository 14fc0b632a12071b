"""`python -m train.pretrain --request FILE`: one process of a pretraining, alone or as a rank among others.

Started by core.launchers (directly, or through torchrun, accelerate or deepspeed), which follows `metrics.jsonl`.
What is left in the folder at the end: the model in shards, its cards, `ledger.bin`, `written.jsonl`, `result.json`.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.launchers import preflight, probe, settle
from core.launchers.contract import RESULT
from core.launchers.pretrain_prepare import INITIAL
from core.launchers.pretrain_request import PretrainRequest, pairs
from train import adapters, checkpoints, entry, pretrain_cards, pretrain_data, zero
from train.entry import say
from train.pretrain_data import Data, Plan

WORTH_COMPILING = 100  # passes: fewer take less time than compiling
PROMPT_TOKENS, PROMPTS = 16, 2


def train(request: PretrainRequest, *, deepspeed: Path | None = None) -> None:
    """Raises UserError for what the corpora, the base or the machine can't do."""
    import torch
    from transformers import AutoTokenizer, set_seed

    from train.arguments import arguments, charts, tell_plan
    from train.callbacks import GiveBackMemory, Metrics, StopAtNaN, StopWhenAsked
    from train.generated import Writes
    from train.ledger import Ledger
    from train.trainer import AnswersOnly, PackedTrainer, Passes

    device = "cuda" if torch.cuda.is_available() else "cpu"
    precision = settle.precision(request.precision, settle.here(), device == "cuda")
    settings = arguments(
        request,
        device=device,
        precision=precision,
        deepspeed=deepspeed,
        adam_beta1=request.beta1,
        adam_beta2=request.beta2,
        save_on_each_node=request.every_node,
    )
    refuse_unlike(settings)
    if settings.should_save:  # of an earlier run: this one is not finished until it says so itself
        (request.out / RESULT).unlink(missing_ok=True)
    set_seed(request.seed)
    tokenizer = AutoTokenizer.from_pretrained(request.base, local_files_only=True, trust_remote_code=False)
    data = pretrain_data.opened(request, tokenizer)
    checkpoint = agreed_checkpoint(request, settings)
    if deepspeed:
        make_fit(checkpoint, request, settings)
    base = weights_of(request, tokenizer, settings)
    model = adapters.load(
        base, method="full", precision=precision, checkpointing=request.gradient_checkpointing == "on", device=device
    )
    refuse_small_vocabulary(model.config, tokenizer)
    plan = Plan(data, request.batch, request.micro_batch, settings.world_size, request.epochs, request.max_steps)
    if compiles(request, device, plan, deepspeed):
        say(settings, "Compiling the model's layers; the first pass takes about half a minute.")
        adapters.compile_layers(model)
    answers = AnswersOnly(model)
    tell_plan(settings, plan)
    pad = next((one for one in (tokenizer.pad_token_id, tokenizer.eos_token_id) if one is not None), 0)
    numbers = list(data.held_out)
    metrics, ledger = Metrics(request.out, epochs=plan.epochs_at), Ledger(request.out, request.batch)
    stop, no_number = StopWhenAsked(request.out), StopAtNaN()
    writes = Writes(
        request.out,
        prompts_of(request, data, tokenizer),
        every=request.sample_every,
        tokens=request.sample_tokens,
        seed=request.seed,
    )
    trainer = PackedTrainer(
        collate=partial(
            pretrain_data.collate,
            rows=data.rows,
            pad=pad,
            micro=request.micro_batch,
            apart=not packs(model, data, pad, settings),
            of={number: place for place, number in enumerate(numbers)},
        ),
        answers=answers,
        keep=request.keep,
        keep_every=request.keep_every,
        validation=[numbers[at : at + request.micro_batch] for at in range(0, len(numbers), request.micro_batch)],
        validated=len(numbers),
        parts=data.parts,
        model=model,
        args=settings,
        train_dataset=Passes(plan),
        eval_dataset=Passes(plan) if request.eval_every else None,  # asked for by the Trainer; evaluate() reads its own
        processing_class=tokenizer,
        # the ledger first, before a checkpoint is asked for; charts last: they take what metrics adds
        callbacks=[metrics, stop, no_number, ledger, writes, GiveBackMemory(), *charts()],
    )
    metrics.trainer = ledger.trainer = writes.trainer = trainer
    tell(request, settings, plan, precision)
    if settings.should_save:
        checkpoints.forget_after(request.out, checkpoints.step_of(checkpoint) if checkpoint else 0)
    trainer.train_from(checkpoint)
    no_number.refuse(settings, request.out)
    if stop.asked and trainer.state.global_step < plan.steps:
        say(settings, f"Stopped after step {trainer.state.global_step}; its checkpoint is kept.")
        return
    finish(request, trainer, tokenizer, plan)


def agreed_checkpoint(request: PretrainRequest, settings: Any) -> Path | None:
    """The one to go on from that is whole on all machines: each may have a disk of its own."""
    own = [folder.name for folder in checkpoints.whole_in(request.out)]
    everywhere = set(own).intersection(*told_by_all(own, settings))
    if request.resume != "last":
        return checkpoints.chosen(request.out, request.resume)
    found = [name for name in own if name in everywhere]
    return request.out / found[-1] if found else None


def told_by_all(own: Any, settings: Any) -> list[Any]:
    """What each rank tells."""
    if settings.world_size == 1:
        return [own]
    from accelerate.utils import gather_object

    return gather_object([own])


def refuse_unlike(settings: Any) -> None:
    """Ranks that met at a rendezvous were asked by nobody whether they have the same packages."""
    import platform

    told = told_by_all({"host": platform.node(), **probe.found([])}, settings)
    for other in told:
        preflight.compare(other["host"], told[0], other)


def make_fit(checkpoint: Path | None, request: PretrainRequest, settings: Any) -> None:
    """Where another number of ranks wrote the checkpoint, it is converted first, and DeepSpeed told to load that."""
    from train.arguments import deepspeed_configs

    for config in deepspeed_configs(settings):
        config["checkpoint"] = {"use_node_local_storage": request.every_node}
    if checkpoint is None:
        return
    if zero.fits(checkpoint, stage=request.zero, ranks=settings.world_size):
        if request.zero:
            zero.refuse_without_part(checkpoint, settings.process_index)
        return
    say(
        settings, f"{checkpoint.name} is of {zero.ranks_of(checkpoint)} ranks; converting it for {settings.world_size}."
    )
    if settings.should_save:
        zero.make_universal(checkpoint)
    zero.wait_until_universal(checkpoint)
    for config in deepspeed_configs(settings):
        config["checkpoint"]["load_universal"] = True


def weights_of(request: PretrainRequest, tokenizer: Any, settings: Any) -> Path:
    """The folder of the weights to begin with; new ones are made once."""
    if not request.new_weights:
        return Path(request.base)
    from train import initial

    folder = request.out / INITIAL
    if settings.should_save:
        with checkpoints.room_for("The new weights", request.out):
            initial.write(
                folder,
                Path(request.base),
                pairs(request.shape),
                tokenizer,
                seed=request.seed,
                shard_gb=request.shard_gb,
            )
    initial.wait_for(folder)
    return folder


def refuse_small_vocabulary(config: Any, tokenizer: Any) -> None:
    size = config.get_text_config().vocab_size
    if len(tokenizer) > size:
        raise UserError(
            "The tokenizer has {size} tokens, more than the {own} that the model has embeddings for.",
            remedy="Choose the model that this tokenizer belongs to, or begin with new weights.",
            size=len(tokenizer),
            own=size,
        )


def packs(model: Any, data: Data, pad: int, settings: Any) -> bool:
    """Whether the samples of a row can stay together; rows of one sample always can."""
    from train import leaks

    several = next((number for number in range(min(len(data.rows), 64)) if len(data.rows[number].ends) > 1), None)
    if several is None:
        return True
    if leaks.keeps_rows_apart(model, data.rows, several, pad):
        return True
    say(settings, "This model lets packed samples see each other, so each is passed in a row of its own.")
    return False


def compiles(request: PretrainRequest, device: str, plan: Plan, deepspeed: Path | None) -> bool:
    if request.compile != "auto":
        return request.compile == "on"
    return deepspeed is None and plan.steps * plan.passes >= WORTH_COMPILING and adapters.can_compile(device)


def prompts_of(request: PretrainRequest, data: Data, tokenizer: Any) -> list[list[int]]:
    """What the model goes on from as it learns."""
    if request.sample_prompts:
        return [tokenizer(text)["input_ids"] or [tokenizer.eos_token_id or 0] for text in request.sample_prompts]
    numbers = data.held_out[:: max(1, len(data.held_out) // PROMPTS)][:PROMPTS] or (0,)
    return [data.rows[number].ids[:PROMPT_TOKENS].tolist() for number in numbers]


def tell(request: PretrainRequest, settings: Any, plan: Plan, precision: str) -> None:
    order = plan.data.order
    mix = ", ".join(f"{name} {quota}" for name, quota in order.quotas.items())
    say(
        settings,
        f"{plan.steps} steps of {request.batch} rows ({mix}), {plan.passes} passes on each of {plan.ranks} ranks; "
        f"an epoch is {order.epoch_batches} steps; {precision}, ZeRO {request.zero}.",
    )
    for name, count in order.unused.items():
        say(settings, f"{count} rows of {name} fill no batch in an epoch (at a source's end: {request.end}).")


def finish(request: PretrainRequest, trainer: Any, tokenizer: Any, plan: Plan) -> None:
    """The model in shards, its cards, and result.json last."""
    judged = trainer.summed(trainer.validation_losses()) if plan.data.held_out else {}
    with checkpoints.room_for("The trained model", request.out):
        save(request, trainer)
    if not trainer.args.should_save:
        return
    tokenizer.save_pretrained(request.out)
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    perplexity = {name: judged[f"perplexity/{name}"] for name in plan.data.parts}
    result = {
        "steps": trainer.state.global_step,
        "loss": losses[-1] if losses else None,
        "eval_loss": judged.get("eval_loss"),
        "perplexity": perplexity,
        "tokens": trainer.tokens_seen,
        "rows": {source.name: len(source) for source in plan.data.rows.sources},
        "quotas": dict(plan.data.order.quotas),
    }
    pretrain_cards.write(request, result)
    temporary = request.out / (RESULT + ".tmp")
    temporary.write_text(json.dumps(result, indent=2), encoding="utf-8")
    temporary.replace(request.out / RESULT)
    if perplexity:
        told = ", ".join(f"{name} {value:.2f}" for name, value in perplexity.items())
        say(trainer.args, f"Perplexity on kept rows: {told}.")


def save(request: PretrainRequest, trainer: Any) -> None:
    """In shards. With ZeRO all ranks bring their parts together, in the precision that was computed in."""
    state = trainer.accelerator.get_state_dict(trainer.deepspeed) if trainer.is_deepspeed_enabled else None
    if trainer.args.should_save:
        model = trainer.accelerator.unwrap_model(trainer.model)
        model.save_pretrained(request.out, state_dict=state, max_shard_size=f"{request.shard_gb}GB")


if __name__ == "__main__":
    entry.quiet()
    sys.exit(entry.run(PretrainRequest, train, __doc__))
