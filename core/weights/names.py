"""Which files of a repository are wanted, and which names are safe to write on any system."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from core.errors import UserError
from core.models import CARD
from core.weights import hashes
from core.weights.part import NOTES, SUFFIX
from core.weights.sources import RemoteFile

OURS = (CARD, hashes.MEMORY, ".lock", ".gitattributes")
"""Written or not needed here: a repository's own are passed over."""

_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_TWINS = re.compile(
    r"(?:(?P<adapter>adapter_)model|pytorch_model|tf_model|flax_model).*\.(bin|bin\.index\.json|h5|msgpack)$"
)
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def wanted(files: Iterable[RemoteFile], include: Sequence[str], exclude: Sequence[str]) -> list[RemoteFile]:
    """Those that match an `include` pattern (all, where there is none) and no `exclude` pattern.

    Shell patterns over the whole path, `*` crossing folders, as the hub's own tools read them. Raises
    UserError for a name that can't be trusted.
    """
    chosen = [file for file in files if matches(file.name, include or ("*",)) and not matches(file.name, exclude)]
    chosen = [file for file in chosen if file.name not in OURS and not file.name.endswith((SUFFIX, NOTES))]
    _check_names([file.name for file in chosen])
    return chosen


def in_one_format(files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """Without the .bin, .h5 and other twins of weights that lie beside them as safetensors."""
    safe = {(str(place.parent), place.name.split("model")[0]) for file in files
            if (place := PurePosixPath(file.name)).suffix == ".safetensors"}  # fmt: skip
    return [file for file in files if _twin_of(file.name) not in safe]


def _twin_of(name: str) -> tuple[str, str] | None:
    """(folder, what stands before `model` in the name) of the safetensors that would hold the same; None for others."""
    place = PurePosixPath(name)
    found = _TWINS.match(place.name)
    return (str(place.parent), "adapter_" if found["adapter"] else "") if found else None


def target(folder: Path, name: str) -> Path:
    """Where a checked name lies in a folder. Raises UserError where a link leads out of the folder."""
    path = folder / name
    root = folder.resolve()
    if path.is_symlink() or not path.parent.resolve().is_relative_to(root):
        raise UserError(
            "{path} is a link, so writing there could reach outside of {folder}.",
            remedy="Remove the link, or choose another folder.",
            path=path,
            folder=folder,
        )
    return path


def matches(name: str, patterns: Iterable[str]) -> bool:
    return any(
        fnmatchcase(name, pattern) or (pattern.endswith("/") and name.startswith(pattern)) for pattern in patterns
    )


def _check_names(names: list[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if not is_safe(name):
            raise UserError(
                "The repository holds a file with an unsafe name: {name}",
                remedy="Do not use this repository, or leave the file out with --exclude.",
                name=repr(name),
            )
        if (twin := seen.setdefault(name.casefold(), name)) != name:
            raise UserError(
                "The repository holds {one} and {other}, which many systems can't tell apart.",
                remedy="Leave one out with --exclude.",
                one=twin,
                other=name,
            )


def is_safe(name: str) -> bool:
    """Whether a name stays inside its folder and can be written on Linux, macOS and Windows."""
    if not name or len(name) > 500 or _UNSAFE.search(name) or PurePosixPath(name).is_absolute():
        return False
    parts = name.split("/")
    return all(part not in ("", ".", "..") and not _DEVICES.fullmatch(part) and part[-1] not in " ." for part in parts)
