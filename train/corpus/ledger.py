"""The books of a build: what every shard and part told, added up a source, and proven against the files themselves."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.launchers.corpus import BuildRequest, Damage, Ledger, SourceLedger, Tally
from train.corpus import streams
from train.corpus.sources import Shard

Cleaned = dict[int, dict[str, Any]]
"""What cleaning told, by the shard's number."""


def added_up(
    request: BuildRequest,
    shards: list[Shard],
    cleaned: Cleaned,
    packed: list[tuple[int, dict[str, Any]]],
    vocabulary: str,
) -> Ledger:
    """`packed`: (number of the source, what packing a part told)."""
    made = []
    for number, source in enumerate(request.sources):
        own = [cleaned[shard.number] for shard in shards if shard.source == number]
        stores = [told for place, told in packed if place == number]
        files = [one for told in own for one in told["files"]]
        names = {piece.file for shard in shards if shard.source == number for piece in shard.pieces}
        made.append(
            SourceLedger(
                name=source.name,
                language=source.language,
                weight=source.weight,
                files=len(names),
                read=Tally(documents=sum(one["rows"] for one in files), bytes=sum(one["bytes"] for one in files)),
                packed=_sum(told["packed"] for told in stores),
                filtered=_by_rule(told["filtered"] for told in own),
                unreadable=_by_rule(told["unreadable"] for told in own),
                duplicates=_by_rule(told["duplicates"] for told in stores),
                repaired=_counted(told["repaired"] for told in own),
                masked=_counted(told["masked"] for told in own),
                damaged=tuple(Damage(file=one["file"], why=one["damage"]) for one in files if one["damage"]),
                text_bytes=sum(told["text_bytes"] for told in stores),
                tokens=sum(told["made"]["tokens"] for told in stores),
                samples=sum(told["made"]["samples"] for told in stores),
                rows=sum(told["made"]["rows"] for told in stores),
            )
        )
    return Ledger(tokenizer=vocabulary, length=request.length, sources=tuple(made))


def prove(ledger: Ledger, shards: list[Shard], cleaned: Cleaned, packed: list[tuple[int, dict[str, Any]]]) -> None:
    """Every byte has one outcome, every plain file was read whole, the stores hold what was handed to them.

    Raises UserError naming the first that does not add up: then the program is wrong, not the person.
    """
    for source in ledger.sources:
        found = source.outcomes()
        if found != source.read:
            raise _wrong(source.name, f"{source.read.bytes:,} bytes, {source.read.documents:,} rows read",
                         f"{found.bytes:,} bytes, {found.documents:,} rows told of")  # fmt: skip
    for file, (read, size) in _plain_files(shards, cleaned).items():
        if read != size:
            raise _wrong(file, f"{size:,} bytes", f"{read:,} bytes read")
    for number, told in packed:
        made = told["made"]
        if (made["documents"], made["text_bytes"]) != (told["packed"][0], told["text_bytes"]):
            raise _wrong(ledger.sources[number].name, f"{told['packed'][0]:,} documents, {told['text_bytes']:,} bytes",
                         f"{made['documents']:,} documents, {made['text_bytes']:,} bytes stored")  # fmt: skip


def prove_stores(ledger: Ledger, folder: Path) -> None:
    """The stores, opened as a training opens them, hold the rows and tokens that the ledger tells."""
    from train.corpus.store import Corpus

    if not any(source.rows for source in ledger.sources):
        return
    rows = Corpus(folder, fingerprint=ledger.tokenizer).rows()
    for source in ledger.sources:
        if rows.get(source.name, 0) != source.rows:
            raise _wrong(source.name, f"{source.rows:,} rows", f"{rows.get(source.name, 0):,} rows in its stores")


def _plain_files(shards: list[Shard], cleaned: Cleaned) -> dict[str, tuple[int, int]]:
    """{file: (bytes read, its size)} of files whose bytes are the text's; damaged ones have told so."""
    sizes: dict[str, int] = defaultdict(int)
    for piece in (piece for shard in shards for piece in shard.pieces):
        if piece.format != "parquet" and not streams.compression(Path(piece.file)):
            sizes[piece.file] = max(sizes[piece.file], piece.end)
    read: dict[str, int] = defaultdict(int)
    for one in (one for told in cleaned.values() for one in told["files"]):
        read[one["file"]] += one["bytes"]
        if one["damage"]:
            sizes.pop(one["file"], None)
    return {file: (read[file], size) for file, size in sizes.items()}


def _sum(pairs: Iterable[list[int]]) -> Tally:
    return sum((Tally(documents=one[0], bytes=one[1]) for one in pairs), Tally())


def _by_rule(told: Iterable[dict[str, list[int]]]) -> dict[str, Tally]:
    found: dict[str, Tally] = defaultdict(Tally)
    for one in told:
        for rule, pair in one.items():
            found[rule] += Tally(documents=pair[0], bytes=pair[1])
    return dict(sorted(found.items()))


def _counted(told: Iterable[dict[str, int]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for one in told:
        found.update(one)
    return dict(sorted(found.items()))


def _wrong(what: str, wanted: str, found: str) -> UserError:
    return UserError(
        "The books of {what} don't balance: {wanted}, but {found}.",
        remedy="Report this with the folder's work/*.json files; the corpus is not to be trusted.",
        what=what,
        wanted=wanted,
        found=found,
    )
