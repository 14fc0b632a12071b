"""GPUs as a training finds them: which torch is installed, and whether it can use them. Imports no torch."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

from core import resources
from core.errors import UserError

DRIVER = Path("/proc/driver/nvidia/version")


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch was built for; None where it was built without, or is not there."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^cuda\b[^=]*=\s*'([^']+)'", text, flags=re.MULTILINE)
    return found[1] if found else None


def is_there() -> bool:
    """Whether this machine has an NVIDIA card or its driver, whatever torch makes of it."""
    return bool(resources.gpus()) or DRIVER.exists()


def usable() -> int:
    """How many GPUs a training here can use: none with a torch that was built without CUDA."""
    return len(resources.gpus()) if torch_cuda() else 0


def unused() -> UserError | None:
    """What to do where there is a GPU that the installed torch can't use; None where all is well."""
    if torch_cuda() or not is_there():
        return None
    return UserError(
        "This machine has an NVIDIA GPU, but the installed torch was built without CUDA, "
        "so training uses the processor.",
        remedy="Run `pip install --force-reinstall torch=={version}` with the index address that the selector on "
        "pytorch.org names for CUDA.",
        version=_torch_version(),
    )


def refuse_unusable(devices: tuple[int, ...], *, processes: int = 0, qlora: bool = False) -> None:
    """Raises UserError where a request asks for GPUs that can't be used here, or for a package that isn't."""
    count = usable()
    if qlora and importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "The package bitsandbytes is not installed.",
            remedy="Install it with `pip install bitsandbytes`, or choose the method lora.",
        )
    if count and processes > (len(devices) or count):
        raise UserError(
            "{processes} processes need as many GPUs; {count} are chosen.",
            remedy="Lower --processes, or leave it at 0: one process a GPU.",
            processes=processes,
            count=len(devices) or count,
        )
    wrong = [number for number in devices if number >= count]
    if wrong:
        raise UserError(
            "There is no GPU {number} here that torch can use; it counts {count}.",
            remedy="Name others with --devices, or none to use all.",
            number=wrong[0],
            count=count,
        )


def has_bf16() -> bool:
    """Whether all GPUs compute in bf16 (compute capability 8.0 on)."""
    if shutil.which("nvidia-smi") is None:
        return False
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
        return min(float(line) for line in answer.split()) >= 8.0
    except (subprocess.SubprocessError, OSError, ValueError):
        return False


def processor_has_bf16() -> bool:
    """Whether the processor multiplies in bf16 by itself; where it doesn't, fp32 is the faster one."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = set(re.findall(r"\b(avx512_bf16|amx_bf16|bf16|asimdbf16)\b", text))
    return bool(flags)


def _torch_version() -> str:
    try:
        return metadata.version("torch").partition("+")[0]
    except metadata.PackageNotFoundError:
        return "2"
