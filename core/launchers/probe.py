"""`python -m core.launchers.probe PATH…`: what a machine has, as one JSON line; preflight runs it on every node."""

from __future__ import annotations

import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from core import resources
from core.launchers import gpu

PACKAGES = ("torch", "transformers", "peft", "accelerate", "deepspeed", "safetensors", "numpy", "bitsandbytes")


def found(paths: list[str]) -> dict[str, Any]:
    """`missing`: those of the paths that are not here. Absent packages are absent from `packages`."""
    return {
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "missing": [path for path in paths if not Path(path).exists()],
        "gpus": gpu.usable(),
        "gpu_unused": gpu.unused() is not None,
        "cores": resources.cores(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


if __name__ == "__main__":
    print(json.dumps(found(sys.argv[1:])))
