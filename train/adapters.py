"""What of a base model is trained: all of it, or adapters on its linear layers; and how it is read for that."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from core.errors import UserError

MAMBAS = ("mamba", "mamba2", "falcon_mamba", "falcon_h1")
"""Their kernels read the weights of `out_proj` themselves, past any adapter."""


def load(base: Path, *, method: str, precision: str, checkpointing: bool, device: str) -> Any:
    """The base model, ready for `attach`.

    Weights that are trained stand in fp32 (under bf16 autocast): in bf16 small steps would be lost. Those that
    only adapters are trained beside stand in bf16, or (qlora) the layers' in 4 bits.
    """
    import torch
    from transformers import AutoModelForCausalLM

    frozen = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]
    dtype = torch.float32 if method == "full" else frozen
    rest: dict[str, Any] = {}
    if method == "qlora":
        rest["quantization_config"] = _four_bits(frozen)
        rest["device_map"] = {"": device}
    rest |= {"dtype": dtype, "local_files_only": True, "trust_remote_code": False}
    try:
        model: Any = AutoModelForCausalLM.from_pretrained(base, attn_implementation="sdpa", **rest)
    except ValueError as error:  # older kinds of models know one attention only
        if "attention" not in str(error):
            raise
        model = AutoModelForCausalLM.from_pretrained(base, **rest)
    model.config.use_cache = False
    if method == "qlora":
        model = _fit_to_train(model)
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        if method != "full":
            model.enable_input_require_grads()
    return model


def _four_bits(compute: Any) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=compute
    )


def _fit_to_train(model: Any) -> Any:
    """A 4-bit model with all else in fp32, whose layers stay as they are when it is only asked.

    On processors that multiply in bf16, bitsandbytes packs a layer anew the first time it computes without gradients,
    for a kernel that has none: after a look at the validation part, only the last layers would go on learning.
    """
    from peft import prepare_model_for_kbit_training

    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def targets(model: Any) -> list[str]:
    """The ends of the names of all linear layers but the head: what gets adapters if nothing else is said."""
    import torch

    head = model.get_output_embeddings()
    unfit = ("out_proj",) if model.config.model_type in MAMBAS else ()
    kinds: tuple[type, ...] = (torch.nn.Linear,)
    try:
        from transformers.pytorch_utils import Conv1D

        kinds = (*kinds, Conv1D)
    except ImportError:
        pass
    found = {
        name.rsplit(".", 1)[-1]: None
        for name, module in model.named_modules()
        if isinstance(module, kinds) and module is not head and not name.endswith(unfit)
    }
    return list(found)


def attach(
    model: Any,
    *,
    method: str,
    rank: int,
    alpha: float,
    dropout: float,
    wanted: tuple[str, ...],
    begun: Path | None = None,
) -> Any:
    """The model with adapters (those of the folder `begun`, to go on with), or as it is for full training.

    Raises UserError: no such layers, or an adapter that was made for another base.
    """
    if method == "full":
        return model
    from peft import LoraConfig, PeftModel, get_peft_model

    if begun is not None:
        return _begun(PeftModel, model, begun)

    known = targets(model)
    unknown = [name for name in wanted if not any(end == name or _ends(model, name) for end in known)]
    if unknown or not known:
        raise UserError(
            "The model has no linear layers named {names}.",
            remedy="Choose among: {known}.",
            names=", ".join(unknown) or "–",
            known=", ".join(known) or "–",
        )
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT divides by the rank: a float is as good
        lora_dropout=dropout,
        target_modules=list(wanted) or known,
        bias="none",
        task_type="CAUSAL_LM",
    )
    return _computed_as_autocast_says(get_peft_model(model, config))


def _begun(peft_model: Any, model: Any, folder: Path) -> Any:
    from peft import get_peft_model_state_dict
    from peft.utils.save_and_load import load_peft_weights

    try:
        made = peft_model.from_pretrained(model, str(folder), is_trainable=True)
        saved = {name for name in load_peft_weights(str(folder), device="cpu") if "lora_" in name}
    except (ValueError, RuntimeError, OSError, KeyError, TypeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise _misfit(folder, " ".join(lines[:2])[:200]) from error
    # PEFT passes over layers that only one of the two has
    if differ := saved ^ {name for name in get_peft_model_state_dict(made) if "lora_" in name}:
        raise _misfit(folder, f"{len(differ)} layers, such as {min(differ)}, are in one of them only")
    return _computed_as_autocast_says(made)


def _misfit(folder: Path, why: str) -> UserError:
    return UserError(
        "The adapter {path} does not fit this base: {why}",
        remedy="Choose the base that it was trained on, or begin a new adapter.",
        path=folder,
        why=why,
    )


def _computed_as_autocast_says(model: Any) -> Any:
    """Adapters stand in fp32, and PEFT casts all they read to that; autocast would cast it back at once."""
    for module in model.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            module.cast_input_dtype_enabled = False
    return model


def compile_layers(model: Any) -> None:
    """Compile each of the model's like layers (twice as fast on a processor); the first pass takes half a minute."""
    repeated = set(getattr(model, "_no_split_modules", None) or ())
    for module in model.modules():
        if type(module).__name__ in repeated:
            module.compile(dynamic=True)


def can_compile(device: str) -> bool:
    """Whether torch finds what it compiles with: a C++ compiler, or Triton beside a GPU."""
    import importlib.util
    import shutil

    if device == "cuda":
        return importlib.util.find_spec("triton") is not None
    return sys.platform != "win32" and any(shutil.which(name) for name in ("g++", "clang++", "c++"))


def _ends(model: Any, name: str) -> bool:
    return any(module == name or module.endswith(f".{name}") for module, _ in model.named_modules())
