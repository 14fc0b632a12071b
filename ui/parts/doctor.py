"""What is installed and what of it will not work well here. Reads package data only; imports nothing heavy."""

from __future__ import annotations

import importlib.util
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from core import resources

PACKAGES = (
    "streamlit",
    "torch",
    "transformers",
    "xllamacpp",
    "peft",
    "safetensors",
    "gguf",
    "pandas",
    "networkx",
    "pyvis",
    "gradio",
    "pydantic",
)


@dataclass(frozen=True)
class Finding:
    """One thing checked: `ok` None means nothing to judge."""

    name: str
    value: str
    ok: bool | None = True


def findings() -> list[Finding]:
    return [Finding("Python", platform.python_version()), *(_package(name) for name in PACKAGES)]


def torch_build() -> str | None:
    """`cpu`, or the CUDA or ROCm version that the installed torch was built for; None where there is no torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.origin:
        return None
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    found = re.search(r"^(cuda|hip)\b[^=]*=\s*'([^']+)'", text, flags=re.MULTILINE)
    return f"{found[1]} {found[2]}" if found else "cpu"


def gpu_unused() -> bool:
    """A GPU is there and torch was built without it."""
    return torch_build() == "cpu" and bool(resources.gpus())


def _package(name: str) -> Finding:
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, "", ok=False)
    build = torch_build() if name == "torch" else None
    return Finding(name, f"{version} ({build})" if build else version)
