"""What transformers' Trainer and DeepSpeed are told: a request's settings, and the plan's numbers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from core.launchers.request import Learning
from train.trainer import Plan

SCHEDULES = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}


def arguments(request: Learning, *, device: str, precision: str, deepspeed: Path | None, **more: Any) -> Any:
    """transformers.TrainingArguments; `more` are some of its own."""
    from transformers import TrainingArguments

    if deepspeed and device == "cpu":
        from train import zero

        zero.without_compiled_parts()
    settings: dict[str, Any] = {
        "output_dir": str(request.out),
        "per_device_train_batch_size": 1,  # one planned pass
        "max_steps": 1,  # set when the plan is made
        "learning_rate": request.learning_rate,
        "lr_scheduler_type": SCHEDULES[request.schedule],
        "warmup_steps": request.warmup,
        "weight_decay": request.weight_decay,
        "adam_beta2": 0.95,
        "max_grad_norm": request.max_grad_norm,
        "bf16": precision == "bf16",
        "fp16": precision == "fp16",
        "use_cpu": device == "cpu",
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": request.save_every,
        "eval_strategy": "steps" if request.eval_every else "no",
        "eval_steps": request.eval_every or None,
        "seed": request.seed,
        "data_seed": request.seed,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": device == "cuda",
        "ignore_data_skip": True,  # the trainer's sampler begins where the checkpoint ends
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": [],
        "deepspeed": str(deepspeed) if deepspeed else None,
        "ddp_backend": "gloo" if device == "cpu" and int(os.environ.get("WORLD_SIZE", "1")) > 1 else None,
        "ddp_find_unused_parameters": False,
    }
    return TrainingArguments(**(settings | more))


def tell_plan(settings: Any, plan: Plan) -> None:
    """The plan's numbers, where the Trainer and DeepSpeed look for them: both took theirs before it was made."""
    settings.gradient_accumulation_steps, settings.max_steps = plan.passes, plan.steps
    for config in deepspeed_configs(settings):
        config["gradient_accumulation_steps"] = plan.passes
    if (plugin := getattr(settings, "deepspeed_plugin", None)) is not None:
        plugin.gradient_accumulation_steps = plan.passes


def deepspeed_configs(settings: Any) -> tuple[dict[str, Any], ...]:
    """DeepSpeed's settings in every place that is read later; none without DeepSpeed."""
    plugin = getattr(settings, "deepspeed_plugin", None)
    return () if plugin is None else (settings.hf_deepspeed_config.config, plugin.deepspeed_config)


def charts() -> list[Any]:
    """TensorBoard's files, where it is installed."""
    import importlib.util

    if importlib.util.find_spec("tensorboard") is None:
        return []
    from transformers.integrations import TensorBoardCallback

    return [TensorBoardCallback()]
