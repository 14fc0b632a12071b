"""`python -m core extract review export|merge|open`: what was reviewed goes out, another's review comes in."""

from __future__ import annotations

import getpass
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import tyro
from pydantic import Field
from tyro.conf import Positional

from core.errors import UserError
from core.extract import labelstudio
from core.extract import schema as schemas
from core.extract.review import merge, package, queue, rows, splits
from core.extract.review.annotated import packed
from core.extract.review.book import Book
from core.extract.review.merge import Agreement, Merged
from core.extract.review.rows import By, Reviewed
from core.extract.review.splits import Split
from core.operation import Progress, Request, Result, operation
from core.store import dump

What = Literal["gold", "training", "few-shot", "package", "labelstudio"]
_SPLIT: dict[str, Split] = {"gold": "gold", "training": "train", "few-shot": "few-shot"}


class ExportRequest(Request):
    """Write what was reviewed: gold, training rows, examples, a package for a second reviewer, Label Studio tasks."""

    run: Positional[Path] = Field(description="Folder of the run", json_schema_extra={"picker": "folder"})
    what: What = Field(
        default="gold",
        description="gold: records.jsonl; training: IEPile rows and records; few-shot: a schema with examples; "
        "package: a .zip for a second reviewer; labelstudio: tasks and their labeling config",
    )
    out: Path = Field(description="Folder to write to; the file itself for a package")
    schema_ref: Annotated[str, tyro.conf.arg(name="schema")] = Field(
        default="",
        description="Schema the run was made with, where the review doesn't know it yet",
        json_schema_extra={"picker": "schema"},
    )
    by: By = Field(
        default="sentences",
        description="sentences: every sentence that is whole is a row; documents: only documents that are whole",
    )
    share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Part of the documents to take that have no purpose yet, chosen by their text's hash",
    )
    limit: int | None = Field(
        default=None, ge=1, description="At most so many sentences", json_schema_extra={"unit": "sentences"}
    )
    blind: bool = Field(default=False, description="A package without your decisions, so that they lead nobody")
    sentences: Literal["all", "reviewed", "todo"] = Field(
        default="all", description="Which sentences a package holds", json_schema_extra={"advanced": True}
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Which sentences a limited package draws by lot",
        json_schema_extra={"advanced": True},
    )
    who: str = Field(default="", description="Your name, as others will read it; your account's if not given")


class ExportResult(Result):
    out: Path
    sentences: int
    documents: int = 0
    left_out: int = 0
    """Sentences that belong to another split."""
    open_disputes: int = 0
    split: str = ""

    def summary(self) -> str:
        lines = [
            f"{self.sentences} sentences of {self.documents} documents"
            if self.documents
            else f"{self.sentences} sentences"
        ]
        if self.split:
            lines.append(f"their texts belong to “{self.split}” from now on")
        if self.left_out:
            lines.append(f"left out: {self.left_out} sentences whose text belongs to another split")
        if self.open_disputes:
            lines.append(f"{self.open_disputes} disagreements are not settled; your own decisions stand")
        return "\n".join([*lines, f"written to {self.out}"])


@operation("extract", "review export")
def export(request: ExportRequest, progress: Progress) -> ExportResult:
    book = Book(request.run)
    schema = schemas.load(request.schema_ref) if request.schema_ref else None
    if request.what == "labelstudio":
        made = labelstudio.write(request.run, request.out, schema or (book.schema() if book.there else None))
        return ExportResult(out=request.out, sentences=made)
    book.refresh_all(schema)
    if request.what == "package":
        chosen = _chosen(book, request)
        out = request.out if request.out.suffix == ".zip" else request.out / f"{request.run.name}-review.zip"
        made = package.write(book, out, units=chosen, who=request.who or account(), blind=request.blind)
        return ExportResult(out=out, sentences=made)
    return _rows(book, request, progress)


def _chosen(book: Book, request: ExportRequest) -> list[int]:
    """In the file's order; a limited number by lot, so that agreement on them speaks for all."""
    numbers = list(queue.ids(book, queue.Filter(state=request.sentences, order="file")))
    if request.limit and request.limit < len(numbers):
        places = sorted(random.Random(request.seed).sample(range(len(numbers)), request.limit))
        numbers = [numbers[place] for place in places]
    if not numbers:
        raise UserError("There are no such sentences.", remedy="Choose other sentences, or review some first.")
    return numbers


def _rows(book: Book, request: ExportRequest, progress: Progress) -> ExportResult:
    split = _SPLIT[request.what]
    taken, left_out = _assigned(list(rows.reviewed(book, request.by)), split, request)
    request.out.mkdir(parents=True, exist_ok=True)
    try:
        _write(book, taken, request, progress)
    except OSError as error:
        raise UserError(
            "The rows can't be written to {path}: {why}.",
            remedy="Free some space, or choose another place.",
            path=request.out,
            why=error.strerror or error,
        ) from error
    return ExportResult(
        out=request.out,
        sentences=len(taken),
        documents=len({one.document for one in taken}),
        left_out=left_out,
        open_disputes=queue.counts(book).disputed,
        split=split,
    )


def _assigned(found: list[Reviewed], split: Split, request: ExportRequest) -> tuple[list[Reviewed], int]:
    """The rows that are this split's from now on, and how many are another's. Assigned before anything is written."""
    if not found:
        raise UserError(
            "No sentence is reviewed yet.",
            remedy="Call sentences whole on the Review page: only those count, with everything that is in them.",
        )
    known = splits.known({hash for one in found for hash in (one.document, one.own)})
    theirs = [one for one in found if {known.get(one.document, split), known.get(one.own, split)} == {split}]
    left_out = len(found) - len(theirs)
    taken = [one for one in theirs if one.document in known or _drawn(one.document) < request.share]
    if request.what == "few-shot":
        taken = rows.telling(taken, request.limit or 6)
    taken = taken[: request.limit]
    if not taken:
        raise UserError(
            "None of the reviewed sentences can be used for “{split}”: their texts belong to another split.",
            remedy="Review further documents. A text that was given to one purpose never serves another.",
            split=split,
        )
    splits.assign({hash for one in taken for hash in (one.document, one.own)}, split)
    return taken, left_out


def _drawn(hash: str) -> float:
    return int(hash[:8], 16) / (1 << 32)


def _write(book: Book, taken: list[Reviewed], request: ExportRequest, progress: Progress) -> None:
    schema, out = book.schema(), request.out
    if request.what == "few-shot":
        base = _needed(schema, book)
        told = [rows.example(one.row) for one in taken]
        schemas.save(base.model_copy(update={"examples": tuple(told)}), out / "schema.json")
        return
    with (out / "records.jsonl").open("w", encoding="utf-8") as file:
        for number, one in enumerate(taken, start=1):
            file.write(rows.line(one.row))
            progress.step(number, len(taken), "rows")
    if request.what == "training":
        base = _needed(schema, book)
        with (out / "iepile.jsonl").open("w", encoding="utf-8") as file:
            for one in taken:
                file.writelines(
                    dump(row) + "\n"
                    for row in rows.iepile(one.row, base, book.tasks(), str(book.meta("run", "review")))
                )
    if schema is not None:
        schemas.save(_asked(schema, book), out / "schema.json")


def _asked(schema: schemas.Schema, book: Book) -> schemas.Schema:
    """Only what the run was asked for: of other types nobody said that they are absent."""
    tasks = book.tasks()
    empty = {name: () for task, name in _FIELDS.items() if task not in tasks}
    return schema.model_copy(update=empty)


_FIELDS = {"ner": "entities", "re": "relations", "ee": "events"}


def _needed(schema: schemas.Schema | None, book: Book) -> schemas.Schema:
    if schema is None:
        raise UserError(
            "The review in {folder} does not know its schema.",
            remedy="Name it with --schema: the one that the run was made with.",
            folder=book.folder,
        )
    return schema


class MergeRequest(Request):
    """Take in what a second reviewer said, and tell how far you agree. None of your decisions is overwritten."""

    run: Positional[Path] = Field(description="Folder of the run", json_schema_extra={"picker": "folder"})
    package: Positional[Path] = Field(
        description="What came back: a review package (.zip), or Label Studio's export (.json)",
        json_schema_extra={"picker": "file"},
    )
    who: str = Field(default="", description="The second reviewer's name, where the file doesn't tell it")
    fill: bool = Field(default=True, description="Take over the other's decisions where you have none")


class MergeResult(Result):
    agreement: tuple[Agreement, ...]
    sentences: int
    unknown: int
    filled: int
    disputes: int

    def summary(self) -> str:
        lines = [f"{self.sentences} sentences compared, {self.filled} decisions taken over where you had none"]
        if self.unknown:
            lines.append(f"{self.unknown} sentences are not in this review, or with another text")
        lines += [describe(one) for one in self.agreement]
        return "\n".join(lines)


def describe(one: Agreement) -> str:
    kappa = "–" if one.kappa is None else f"{one.kappa:.3f}"
    f1 = "–" if one.span_f1 is None else f"{one.span_f1:.3f}"
    return (
        f"{one.who}: {one.same} of {one.records} records decided alike (Cohen's kappa {kappa}), span F1 {f1} "
        f"on {one.sentences} sentences, {one.open} disagreements to settle"
    )


@operation("extract", "review merge")
def run_merge(request: MergeRequest, progress: Progress) -> MergeResult:
    book = Book(request.run)
    book.refresh_all()
    made, people = Merged(), list[str]()
    for who, units in _given(book, request):
        one = merge.take(book, units, who, fill=request.fill)
        people.append(who)
        for name, count in vars(one).items():
            setattr(made, name, getattr(made, name) + count)
        progress.step(made.units, None, "sentences")
    told = tuple(merge.agreement(book, who) for who in people)
    return MergeResult(
        agreement=told, sentences=made.units, unknown=made.unknown, filled=made.filled, disputes=made.disputes
    )


def _given(
    book: Book, request: MergeRequest
) -> Iterator[tuple[str, list[package.PackedUnit] | Iterator[package.PackedUnit]]]:
    if request.package.suffix.lower() != ".zip":
        people: dict[str, list[package.PackedUnit]] = {}
        for who, unit in packed(book, labelstudio.read(request.package)):
            people.setdefault(request.who or who, []).append(unit)
        if not people:
            raise UserError(
                "Nothing is annotated in {path}.",
                remedy="Submit some tasks in Label Studio, then export the project as JSON.",
                path=request.package,
            )
        yield from people.items()
        return
    about = package.about(request.package)
    if about.review != book.id:
        raise UserError(
            "{path} was made from another run: {run}.",
            remedy="Choose the run that the package was made from.",
            path=request.package,
            run=about.run or "–",
        )
    who = request.who or about.who
    if not who:
        raise UserError("The package doesn't say whose it is.", remedy="Give the second reviewer's name.")
    yield who, package.read(request.package)


class OpenRequest(Request):
    """Receive a review package: it becomes a review of your own, to work on and to send back."""

    package: Positional[Path] = Field(description="The package (.zip)", json_schema_extra={"picker": "file"})
    out: Path = Field(description="Folder for the review", json_schema_extra={"picker": "folder"})


class OpenResult(Result):
    out: Path
    sentences: int


@operation("extract", "review open")
def run_open(request: OpenRequest, progress: Progress) -> OpenResult:
    return OpenResult(out=request.out, sentences=package.open_package(request.package, request.out))


def account() -> str:
    """The name of who sits at this machine, until they say another."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return os.environ.get("USER") or "me"
