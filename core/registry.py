"""Plugins are files: how operations, engines, dialects, tasks and exports are found.

This is the only dynamic import of the project. Adding an engine is adding a file to
`core/inference/engines`; adding an operation is adding a file that holds an `@operation(`.
"""

from __future__ import annotations

import importlib
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

from core.paths import PROJECT


def plugins(package: str) -> dict[str, ModuleType]:
    """Import every module of a package's folder; {module's own name: module}, by name."""
    folder = PROJECT.joinpath(*package.split("."))
    names = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    return {name: importlib.import_module(f"{package}.{name}") for name in names}


@cache
def operation_packages() -> tuple[str, ...]:
    """The top-level packages that may hold operations, as pyproject.toml names them."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    return tuple(project["tool"]["knowlm-studio"]["operations"])


def import_operations() -> None:
    """Import the modules that define an operation, and only those: found by their text.

    Such modules keep heavy imports inside functions, so this costs milliseconds.
    """
    for package in operation_packages():
        for path in sorted((PROJECT / package).rglob("*.py")):
            if _defines_operation(path):
                importlib.import_module(".".join(path.relative_to(PROJECT).with_suffix("").parts))


def _defines_operation(path: Path) -> bool:
    return "\n@operation(" in path.read_text(encoding="utf-8")
