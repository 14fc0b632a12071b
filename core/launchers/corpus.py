"""What a corpus is made of and what its folder tells: the settings of `corpus build`, the dropped samples, the ledger.

OUT/build.json            what is being built; a rerun with other settings is refused
OUT/tokens/NAME/*.tokens  the packed samples of a source
OUT/dropped.jsonl         samples of what was left out, each with its rule
OUT/ledger.json           where every byte went; goes last: its presence means finished
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core import paths
from core.errors import UserError
from core.operation import Request

BUILD, TOKENS, DROPPED, LEDGER, WORK = "build.json", "tokens", "dropped.jsonl", "ledger.json", "work"

QUALITY = paths.PROJECT / "train" / "corpus" / "words" / "quality.yaml"

Kind = Literal["auto", "jsonl", "txt", "parquet"]
Language = Literal["auto", "zh", "en"]
Mask = Literal["email", "phone", "id_number", "ip", "card"]
MASKS: tuple[Mask, ...] = ("email", "phone", "id_number", "ip", "card")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Source(_Part):
    """One source: files of one kind that become documents in one way."""

    name: str = Field(pattern=r"^[\w][\w.-]{0,63}$", description="Its name, in the ledger and in the mix")
    path: tuple[str, ...] = Field(min_length=1, description="Files, folders or patterns such as data/*.jsonl.zst")
    format: Kind = Field(default="auto", description="JSON lines, text or Parquet; auto goes by the file's ending")
    text: str = Field(
        default="{text}",
        min_length=1,
        description="How a document is made of a row's fields: {title} and {content}; {title?} may be missing",
    )
    language: Language = Field(default="auto", description="Which rules its documents are held to; auto asks each one")
    weight: float = Field(default=1.0, gt=0, le=1e6, description="Its share of the mix beside the others'")
    encoding: str = Field(default="utf-8", description="Of text and JSON lines; one that keeps line breaks as bytes")
    documents: Literal["line", "file"] = Field(default="line", description="A text file's documents: its lines, or all")

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class CorpusSettings(Request):
    """How texts are read and cleaned; what looking and building share."""

    sources: Annotated[tuple[Source, ...], tyro.conf.Fixed, tyro.conf.Suppress] = Field(
        default=(), description="What it is made of; in the file that --config names"
    )
    repair: bool = Field(default=True, description="Mend wrongly decoded text, and put letters and spaces in one form")
    quality: bool = Field(default=True, description="Leave out what is no running text: lists, tables, repetition")
    harmful: bool = Field(default=True, description="Leave out advertising for gambling, sex, drugs and fraud")
    mask: tuple[Mask, ...] = Field(default=(), description="Private data that a placeholder is put in place of")
    rules: Path | None = Field(
        default=None,
        description="Your own thresholds, a file like train/corpus/words/quality.yaml",
        json_schema_extra={"picker": "file", "advanced": True},
    )
    words: Path | None = Field(
        default=None,
        description="Your own word lists of harmful content, a folder like train/corpus/words",
        json_schema_extra={"picker": "folder", "advanced": True},
    )
    longest_line: int = Field(
        default=16,
        ge=1,
        le=64,
        description="Longer lines are passed over, and counted",
        json_schema_extra={"unit": "MB", "advanced": True},
    )

    @model_validator(mode="after")
    def _names_differ(self) -> CorpusSettings:
        names = [source.name for source in self.sources]
        if double := next((name for name in names if names.count(name) > 1), None):
            raise UserError(
                "Two sources are called “{name}”.", remedy="Give each source a name of its own.", name=double
            )
        return self


class BuildRequest(CorpusSettings):
    """Build a corpus for pretraining: read, clean, deduplicate, tokenize and pack many sources."""

    out: Path = Field(description="Folder of the corpus", json_schema_extra={"picker": "folder"})
    tokenizer: str = Field(
        description="Model whose tokenizer it is for: a model of the workspace, or a folder",
        json_schema_extra={"picker": "model"},
    )
    length: int = Field(
        default=1024, ge=16, le=1 << 20, description="Longest sample", json_schema_extra={"unit": "tokens"}
    )
    packing: Literal["filled", "even", "knowlm"] = Field(
        default="filled",
        description="filled: samples side by side until a row is full; even: one sample a row; knowlm: as KnowLM did",
        json_schema_extra={"advanced": True},
    )
    overlap: int = Field(
        default=0,
        ge=0,
        le=1 << 19,
        description="Tokens before a sample that are shown to it as context and not trained again",
        json_schema_extra={"unit": "tokens", "advanced": True},
    )
    exact: bool = Field(default=True, description="Leave out copies that are equal letter for letter")
    near: bool = Field(default=True, description="Leave out copies that are nearly equal")
    similarity: float = Field(
        default=0.8,
        ge=0.5,
        le=1.0,
        description="Share of common word or character sequences from which on two texts count as nearly equal",
        json_schema_extra={"advanced": True},
    )
    executor: str = Field(
        default="local",
        pattern=r"^(local|ray|ray://.+)$",
        description="local: processes of this machine; ray or ray://HOST:PORT: a Ray cluster with a shared disk",
        json_schema_extra={"advanced": True},
    )
    workers: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Processes at once; 0: one a processor",
        json_schema_extra={"advanced": True},
    )
    shard_size: int = Field(
        default=64,
        ge=1,
        le=256,
        description="Text that a worker takes on at a time",
        json_schema_extra={"unit": "MB", "advanced": True},
    )
    samples: int = Field(
        default=20,
        ge=0,
        le=1000,
        description="Dropped documents that are kept to be looked at, a source and rule",
        json_schema_extra={"unit": "documents", "advanced": True},
    )
    keep_work: bool = Field(
        default=False, description="Keep cleaned texts and indexes in OUT/work", json_schema_extra={"advanced": True}
    )


class LookRequest(BuildRequest):
    """Look at the first documents of each source as a build would read them: fields, text, and what would drop it."""

    out: Annotated[Path, tyro.conf.Suppress] = Path()
    tokenizer: Annotated[str, tyro.conf.Suppress] = ""
    documents: int = Field(
        default=5, ge=1, le=200, description="Documents of each source", json_schema_extra={"unit": "documents"}
    )


class Tally(_Part):
    """Documents, and the bytes that they took in their files."""

    documents: int = 0
    bytes: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(documents=self.documents + other.documents, bytes=self.bytes + other.bytes)


class Damage(_Part):
    """A file that could not be read to its end."""

    file: str
    why: dict[str, Any]
    """A UserError's `to_dict()`."""


class SourceLedger(_Part):
    """Where the bytes of a source went. `read` is measured on its files, the others document by document."""

    name: str
    language: Language
    weight: float
    files: int
    read: Tally
    packed: Tally
    filtered: dict[str, Tally] = {}
    """By rule."""
    duplicates: dict[str, Tally] = {}
    """exact, near."""
    unreadable: dict[str, Tally] = {}
    """By reason."""
    repaired: dict[str, int] = {}
    """Documents, by what was done to them."""
    masked: dict[str, int] = {}
    """Places, by kind."""
    text_bytes: int = 0
    """UTF-8 bytes of the texts that were packed."""
    tokens: int = 0
    samples: int = 0
    rows: int = 0
    damaged: tuple[Damage, ...] = ()

    def outcomes(self) -> Tally:
        """What is known of every document, added up: it must be what was read."""
        return sum(
            (one for part in (self.filtered, self.duplicates, self.unreadable) for one in part.values()), self.packed
        )

    @property
    def balanced(self) -> bool:
        return self.outcomes() == self.read


class Ledger(_Part):
    tokenizer: str
    """The fingerprint of the vocabulary."""
    length: int
    sources: tuple[SourceLedger, ...]


class Dropped(_Part):
    """A document that was left out, kept to be looked at."""

    source: str
    outcome: Literal["filtered", "duplicates", "unreadable"]
    rule: str
    file: str
    offset: int
    """Of its first byte in the file; of its row, in Parquet."""
    size: int
    told: str
    """What was found: `31% of 812 characters`."""
    text: str
    """Its beginning."""
    mark: str = ""
    """The lowest of a rule are kept: a choice by chance that does not depend on any order."""


class Looked(_Part):
    """A document as a build would see it; without `outcome` it would be packed."""

    file: str
    offset: int
    text: str
    outcome: str = ""
    rule: str = ""
    told: str = ""
    repaired: tuple[str, ...] = ()
    masked: dict[str, int] = {}


class LookedSource(_Part):
    name: str
    files: int
    bytes: int
    """Of text, expected."""
    fields: tuple[str, ...]
    """Of its first row."""
    documents: tuple[Looked, ...]
    damage: dict[str, Any] | None = None
    """A UserError's `to_dict()`, where the first file can't be read on."""


@cache
def explained() -> dict[str, dict[str, str]]:
    """{rule: {en, zh}}: why it drops texts, as the file with its limits says."""
    import yaml

    content = yaml.safe_load(QUALITY.read_text(encoding="utf-8"))
    return {str(rule): {"en": str(one["en"]), "zh": str(one["zh"])} for rule, one in content.items()}


def ledger(folder: Path) -> Ledger | None:
    """The ledger of a finished corpus; None where there is none (yet)."""
    try:
        return Ledger.model_validate_json((folder / LEDGER).read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None


def dropped(folder: Path) -> list[Dropped]:
    """The kept samples of what was left out. A line that can't be read is passed over."""
    found = []
    try:
        with (folder / DROPPED).open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    found.append(Dropped.model_validate(json.loads(line)))
                except (ValueError, ValidationError):
                    continue
    except OSError:
        return []
    return found
