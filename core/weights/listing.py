"""`models list`: what is installed, and what the catalog offers for this machine."""

from __future__ import annotations

from pydantic import Field

from core import models, resources
from core.operation import Progress, Request, Result, operation
from core.weights import catalog


class ListRequest(Request):
    """List the models that are here and those that could be."""

    language: str = Field(
        default="",
        pattern="^([a-z]{2})?$",
        description="Only those that read this language (ISO 639-1 code, such as zh)",
    )
    fitting: bool = Field(default=False, description="Only those that this machine can run")


class Row(Result):
    """A line of the list: installed ones have a `ref`, catalog ones an `id`."""

    ref: str = ""
    id: str = ""
    title: str
    format: str
    languages: tuple[str, ...]
    license: str
    size: int
    fits: bool | None = None
    why: str = ""


class ListResult(Result):
    installed: tuple[Row, ...]
    catalog: tuple[Row, ...]

    def summary(self) -> str:
        lines = ["Installed:", *map(_line, self.installed)] if self.installed else ["Nothing is installed yet."]
        return "\n".join([*lines, "", "Catalog:", *map(_line, self.catalog)])


@operation("models", "list")
def run(request: ListRequest, progress: Progress) -> ListResult:
    machine = resources.machine()
    installed = tuple(
        Row(
            ref=model.ref,
            title=model.title,
            format=model.format,
            languages=model.card.languages,
            license=model.card.license,
            size=model.size,
        )
        for model in models.installed()
        if not request.language or model.reads(request.language)
    )
    offered = []
    for entry in catalog.entries():
        fit = catalog.fits(entry, machine)
        if (request.language and request.language not in entry.languages) or (request.fitting and not fit.ok):
            continue
        offered.append(_offer(entry, fit))
    return ListResult(installed=installed, catalog=tuple(offered))


def _offer(entry: catalog.Entry, fit: catalog.Fit) -> Row:
    return Row(
        id=entry.id,
        title=entry.title,
        format=entry.format,
        languages=entry.languages,
        license=entry.license,
        size=entry.bytes,
        fits=fit.ok,
        why=str(fit),
    )


def _line(row: Row) -> str:
    mark = {True: "fits", False: "does not fit", None: ""}[row.fits]
    about = ", ".join(part for part in ("/".join(row.languages), row.license) if part)
    verdict = f"  {mark}: {row.why}" if mark else ""
    return f"  {row.ref or row.id:<22} {resources.size(row.size):>8}  {row.title}  ({about}){verdict}"
