"""What was saved, read again: does it say what the trained model said?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.launchers.finetune import FinetuneRequest
from train import adapters

TOLERANCE = 0.1
"""Of the logits' spread, on average: bf16 alone makes a difference of 0.02 to 0.04."""


def says_the_same(request: FinetuneRequest, trainer: Any, base: Path) -> bool | None:
    """Whether the saved adapter or model gives the trained one's logits for a text. None where it can't be asked
    (sharded weights, which no single rank holds)."""
    import torch
    from transformers import AutoModelForCausalLM

    trained = trainer.accelerator.unwrap_model(trainer.model)
    if trainer.is_deepspeed_enabled or trainer.args.world_size > 1:
        return None
    device, trained = trained.device, trained.eval()
    ids = trainer.processing_class("The answer to this question is", return_tensors="pt")["input_ids"].to(device)
    kept = request.out if request.method == "full" else base
    if request.method == "qlora":  # the base as it was trained beside: rounded to 4 bits, it says other things
        precision = "bf16" if trainer.args.bf16 else "fp16" if trainer.args.fp16 else "fp32"
        again: Any = adapters.load(base, method="qlora", precision=precision, checkpointing=False, device=str(device))
    else:
        again = AutoModelForCausalLM.from_pretrained(kept, dtype=trained.dtype, local_files_only=True).to(device)
    if request.method != "full":
        from peft import PeftModel

        again = PeftModel.from_pretrained(again, str(request.out))
    with torch.no_grad():
        one, other = trained(ids).logits.float(), again.eval()(ids).logits.float()
    close = bool((one - other).abs().mean() < TOLERANCE * one.std())
    return close and (request.method == "full" or _same_adapter(trained, again))


def _same_adapter(trained: Any, again: Any) -> bool:
    """To the bit: what was saved is what was read."""
    import torch
    from peft import get_peft_model_state_dict

    one, other = get_peft_model_state_dict(trained), get_peft_model_state_dict(again)
    return one.keys() == other.keys() and all(
        torch.equal(one[name].detach().float().cpu(), other[name].detach().float().cpu()) for name in one
    )
