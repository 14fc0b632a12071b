"""Versions of a person's schema: each save is kept beside it, by date and hash, and any of them can come back."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.extract.schema import Schema, load, save

FOLDER = "versions"
STAMP = "%Y-%m-%dT%H-%M-%S"


@dataclass(frozen=True)
class Version:
    path: Path
    when: str
    """Local time, `2026-11-24T19-07-06`."""
    hash: str
    """The first eight signs of the schema's."""

    @property
    def schema(self) -> Schema:
        return load(self.path)


def save_version(schema: Schema, path: Path) -> Version:
    """Save the schema as the file and as its newest version. The same content twice is one version.

    A file that was there before versions were kept becomes the first one.
    """
    if path.is_file() and not versions(path):
        with suppress(UserError):  # what can't be read is no version
            _keep(load(path), path, path.stat().st_mtime)
    save(schema, path)
    return _keep(schema, path, time.time())


def versions(path: Path) -> list[Version]:
    """The versions of that file, newest first."""
    found = []
    for one in _folder(path).glob("*.json"):
        when, sign, digest = one.stem.rpartition("-")
        if sign and len(digest) == 8:
            found.append(Version(one, when, digest))
    return sorted(found, key=lambda version: version.path.stem, reverse=True)


def find(path: Path, which: str) -> Version:
    """A version by its date, its hash or the beginning of either. Raises UserError."""
    found = [one for one in versions(path) if one.when.startswith(which) or one.hash.startswith(which)]
    if not found:
        raise UserError(
            "“{name}” has no version {which}.",
            remedy="Choose one of {known}.",
            name=path.stem,
            which=which,
            known=", ".join(f"{one.when} {one.hash}" for one in versions(path)) or "–",
        )
    return found[0]


def forget(path: Path) -> None:
    """Remove the versions of a file that is deleted."""
    for one in versions(path):
        one.path.unlink(missing_ok=True)
    if _folder(path).is_dir() and not any(_folder(path).iterdir()):
        _folder(path).rmdir()


def _folder(path: Path) -> Path:
    return path.parent / FOLDER / path.stem


def _keep(schema: Schema, path: Path, when: float) -> Version:
    known = versions(path)
    if known and known[0].schema == schema:
        return known[0]
    stamp = time.strftime(STAMP, time.localtime(when))
    if known and known[0].when >= stamp:  # two saves in a second: the order of their names stays that of the saves
        stamp = time.strftime(STAMP, time.localtime(time.mktime(time.strptime(known[0].when, STAMP)) + 1))
    place = _folder(path) / f"{stamp}-{schema.hash[:8]}.json"
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    save(schema, place)
    return Version(place, stamp, schema.hash[:8])
