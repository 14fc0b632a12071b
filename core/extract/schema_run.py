"""`python -m core extract schema convert|diff|versions`: schemas of other programs, and what changed in one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import tyro
from pydantic import Field

from core.errors import UserError
from core.extract import schema as schemas
from core.extract import schema_files, schema_iepile, schema_versions
from core.extract.schema import Schema
from core.extract.schema_diff import Change, diff
from core.operation import Progress, Request, Result, operation

Target = Literal["studio", "iepile", "csv"]


class ConvertRequest(Request):
    """Convert a schema: from IEPile's schema.json, JSON Schema, a table or a list of types, or into them."""

    input: tyro.conf.Positional[Path] = Field(
        description="File with the types, in any of those formats", json_schema_extra={"picker": "file"}
    )
    out: Path = Field(description="File to write", json_schema_extra={"picker": "file"})
    to: Target = Field(
        default="studio", description="Format to write: this program's own, IEPile's three lines, a table"
    )
    name: str = Field(default="", description="What the schema is called; the file's name if not given")
    language: Literal["", "en", "zh"] = Field(
        default="", description="Language of its names; told by their script if not given"
    )


class ConvertResult(Result):
    out: Path
    read_as: str
    entities: int
    relations: int
    events: int
    strays: tuple[str, ...]
    """Heads and tails that name no entity type of the schema."""

    def summary(self) -> str:
        lines = [
            f"read as {self.read_as}: {self.entities} entity types, {self.relations} relations, {self.events} events",
            *([f"heads or tails that are no entity type of it: {', '.join(self.strays[:10])}"] if self.strays else []),
            f"written to {self.out}",
        ]
        return "\n".join(lines)


@operation("extract", "schema convert")
def convert(request: ConvertRequest, progress: Progress) -> ConvertResult:
    made, kind = schema_files.read(request.input, request.name, request.language)
    if request.out.exists() and request.out.samefile(request.input):
        raise UserError("{path} is the file that is read.", remedy="Write to another one.", path=request.out)
    request.out.parent.mkdir(parents=True, exist_ok=True)
    if request.to == "studio":
        schemas.save(made, request.out)
    else:
        text = schema_iepile.written(made) if request.to == "iepile" else "\ufeff" + schema_files.table(made)
        request.out.write_text(text, encoding="utf-8", newline="")
    return ConvertResult(
        out=request.out,
        read_as=kind,
        entities=len(made.entities),
        relations=len(made.relations),
        events=len(made.events),
        strays=tuple(schemas.strays(made)),
    )


class DiffRequest(Request):
    """Show what differs between two schemas: types and roles added, removed, renamed or told otherwise."""

    before: tyro.conf.Positional[str] = Field(
        description="Older schema: a ready-made one's name, a file, or FILE@VERSION",
        json_schema_extra={"picker": "schema"},
    )
    after: tyro.conf.Positional[str] = Field(
        description="Newer schema, named in the same way", json_schema_extra={"picker": "schema"}
    )


class DiffResult(Result):
    changes: tuple[Change, ...]

    def summary(self) -> str:
        return "\n".join(map(told, self.changes)) or "no difference"


@operation("extract", "schema diff")
def show_diff(request: DiffRequest, progress: Progress) -> DiffResult:
    return DiffResult(changes=tuple(diff(_named(request.before), _named(request.after))))


def told(change: Change) -> str:
    sign = {"added": "+", "removed": "-", "renamed": ">", "changed": "~"}[change.how]
    if change.how in ("renamed", "changed") and (change.before or change.after):
        return f"{sign} {change.what} {change.name}: {change.before or '–'} → {change.after or '–'}"
    more = change.after or change.before
    return f"{sign} {change.what} {change.name}{': ' + more if more else ''}"


class VersionsRequest(Request):
    """List the versions of a schema of your own, newest first."""

    schema_file: tyro.conf.Positional[Path] = Field(
        description="Schema file, such as one that the page has saved", json_schema_extra={"picker": "file"}
    )


class VersionsResult(Result):
    versions: tuple[dict[str, str], ...]

    def summary(self) -> str:
        return "\n".join(f"{one['when']}  {one['hash']}  {one['path']}" for one in self.versions) or "no versions"


@operation("extract", "schema versions")
def show_versions(request: VersionsRequest, progress: Progress) -> VersionsResult:
    found = schema_versions.versions(request.schema_file.expanduser())
    return VersionsResult(versions=tuple({"when": one.when, "hash": one.hash, "path": str(one.path)} for one in found))


def _named(ref: str) -> Schema:
    place, sign, which = ref.rpartition("@")
    if sign and Path(place).expanduser().suffix == ".json":
        return schema_versions.find(Path(place).expanduser(), which).schema
    return schemas.load(ref)
