"""Where models are downloaded from: one small module a source, found by its file.

A source module has the functions of `Source`. Repositories, revisions and files are the source's
own; `name` is a file's path inside its repository, with forward slashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

from core import registry

SourceName = Literal["hub", "mirror", "modelscope"]


@dataclass(frozen=True)
class RemoteFile:
    """A file as its source lists it; None: the source does not tell."""

    name: str
    size: int | None
    sha256: str | None = None
    git_sha1: str | None = None
    """What git calls the file: sha1 over `blob SIZE\\0` and the content."""


@dataclass(frozen=True)
class Listing:
    revision: str
    """Fixed where the source can fix it (a commit), so that all files are of one moment."""
    files: tuple[RemoteFile, ...]
    license: str = ""
    languages: tuple[str, ...] = ()


class Json(Protocol):
    def __call__(self, url: str) -> Any:
        """GET a small JSON document, with patience."""


class Source(Protocol):
    TITLE: str

    def endpoint(self) -> str:
        """Its address, where the person gave none."""

    def token(self) -> str | None:
        """The person's token for it; goes to the endpoint's own host only."""

    def page(self, endpoint: str, repo: str) -> str:
        """The page on which a person reads about the repository and accepts its terms."""

    def listing(self, get: Json, endpoint: str, repo: str, revision: str) -> Listing:
        """What a revision holds; an empty revision is the source's own default."""

    def url(self, endpoint: str, repo: str, revision: str, name: str) -> str:
        """Where a file's bytes are."""


def source(name: SourceName) -> Source:
    return cast(Source, registry.plugins("core.weights.sources")[name])
