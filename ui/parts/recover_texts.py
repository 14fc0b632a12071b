"""What the steps of a recovery are called and why they are there."""

from __future__ import annotations

from core.weights.recovery import Key, Recovery
from ui.i18n import t


def title(recovery: Recovery, key: Key) -> str:
    if key == "base" and recovery.family == "merged":
        return t("Get the merged weights")
    return {
        "base": t("Get the base model"),
        "delta": t("Get the weight difference"),
        "recover": t("Recover"),
        "merge": t("Merge the LoRA"),
        "export": t("Quantize for this machine"),
        "verify": t("Verify the result"),
    }[key]


def about(recovery: Recovery, key: Key) -> str:
    """One sentence under a step's title."""
    if key == "base" and recovery.family == "merged":
        return t("The merged weights as their authors publish them.")
    if key == "merge" and recovery.family == "zhixi-13b":
        return t("Without it ZhiXi is only the pretrained base: it goes on writing, but follows no instruction.")
    return {
        "base": t("Meta's consolidated.*.pth files are read directly; a Hugging Face folder does as well."),
        "delta": t("What the authors publish instead of whole weights: it is added to the base, number by number."),
        "recover": t("Base plus difference, block by block: the memory stays small whatever the model."),
        "merge": t("What the adapter learned is worked into the weights."),
        "export": t("One GGUF file in a precision that this machine can run."),
        "verify": t("Reads everything from the disk again and compares it with its checksums."),
    }[key]


def verb(recovery: Recovery, key: Key) -> str:
    """The label of a step's own button."""
    if key in ("base", "delta"):
        return t("Make the sample family") if recovery.family == "sample" else t("Download")
    return {
        "recover": t("Recover"),
        "merge": t("Merge"),
        "export": t("Quantize"),
        "verify": t("Verify the result"),
    }[key]
