"""`python -m core corpus look`: the first documents of each source, mapped, mended and judged as a build would."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from core.errors import UserError
from core.launchers.corpus import Looked, LookedSource, LookRequest, Source
from core.operation import Progress, Result, operation
from train.corpus import clean, filters, ingest, sources, streams

SHARD = 64 << 20
SHOWN = 4000
"""Characters of a document."""


class LookResult(Result):
    sources: tuple[LookedSource, ...]

    def summary(self) -> str:
        return "\n\n".join(chain.from_iterable(map(_lines, self.sources)))


@operation("corpus", "look")
def run(request: LookRequest, progress: Progress) -> LookResult:
    if not request.sources:
        raise UserError(
            "No source is named.",
            remedy="Name them in the file that --config names: sources, each with a name and a path.",
        )
    filters.read_limits(request.rules)
    return LookResult(sources=tuple(_looked(source, request) for source in request.sources))


def _looked(source: Source, request: LookRequest) -> LookedSource:
    pieces = [piece for shard in sources.shards((source,), SHARD) for piece in shard.pieces]
    documents: list[Looked] = []
    damage: UserError | None = None
    for row in chain.from_iterable(ingest.rows(source, piece, request.longest_line << 20) for piece in pieces):
        if not isinstance(row, ingest.Row):
            damage = damage or row.damage
            continue
        made = clean.judge(row, source, request)
        documents.append(
            Looked(
                file=row.file,
                offset=row.offset,
                text=made.text[:SHOWN],
                outcome=made.outcome,
                rule=made.rule,
                told=made.told,
                repaired=made.repaired,
                masked=dict(made.masked or {}),
            )
        )
        if len(documents) == request.documents:
            break
    first = pieces[0]
    try:
        names = tuple(ingest.fields(Path(first.file), first.format, source.encoding))
    except (streams.BrokenOff, OSError, ValueError):  # said as damage
        names = ()
    return LookedSource(
        name=source.name,
        files=len({piece.file for piece in pieces}),
        bytes=sum(piece.size for piece in pieces),
        fields=names,
        documents=tuple(documents),
        damage=damage.to_dict() if damage else None,
    )


def _lines(source: LookedSource) -> list[str]:
    head = f"{source.name}: {source.files} files; fields: {', '.join(source.fields) or '–'}"
    if source.damage:
        head += f"\n{UserError.from_dict(source.damage)}"
    return [head, *(f"{_verdict(one)} {Path(one.file).name}:{one.offset}\n{one.text}" for one in source.documents)]


def _verdict(one: Looked) -> str:
    if one.outcome:
        return f"[{one.outcome}: {one.rule} {one.told}]".replace(" ]", "]")
    done = [*one.repaired, *(f"{kind} masked" for kind in one.masked)]
    return f"[kept{': ' + ', '.join(done) if done else ''}]"
