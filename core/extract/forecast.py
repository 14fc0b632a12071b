"""What a run is going to take, before it starts: asked by `extract run --plan` and by the page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from core.errors import UserError
from core.extract import calls, cost, inputs, keys
from core.extract.cost import Estimate, Measured
from core.extract.prepared import Prepared, prepare
from core.records import Document
from core.store import FILE, Store

if TYPE_CHECKING:
    from core.extract.run import RunRequest

LOOK = 5000
"""Rows that are looked through for some that are not done."""


def forecast(request: RunRequest) -> Estimate:
    """Reads the start of the file, asks no model. Raises UserError where the run could not start either."""
    made = prepare(request)
    store = Store(request.out) if (request.out / FILE).is_file() else None
    same = store is not None and _differing(store, made) == []
    rows = (store.noted("total") if store is not None else None) or inputs.inspect(
        request.input, request.sheet, request.text_file
    ).rows_estimate
    rows = min(rows, request.limit) if request.limit else rows
    done = min(rows, store.counts().rows) if store is not None and same else 0
    parts = made.parts()
    measured = None
    if store is not None and same:
        base = cost.measure(islice(store.results(), cost.SAMPLE), parts, made.model, made.options)
        rate = (store.noted("rate") or {}).get("calls_per_second")
        measured = Measured(base.calls, base.characters, base.prompt_tokens, base.tokens, rate)
    names = [keys.part_name(part, made.model, made.options) for part in parts]

    def missing(document: Document, wanted: list[calls.Call]) -> list[calls.Call]:
        """Without those whose answers are kept from an earlier call."""
        if store is None:
            return wanted
        key = calls.key(document.text)
        named = [(keys.call_name(names[call.part.number], key, call), call) for call in wanted]
        known = store.known([name for name, _ in named])
        return [call for name, call in named if name not in known]

    return cost.estimate(
        _ahead(made, store if same else None),
        rows - done,
        parts,
        made.model,
        made.options,
        rows=rows,
        measured=measured,
        prices=made.manner.prices,
        missing=missing,
    )


def _ahead(made: Prepared, store: Store | None) -> Iterator[Document]:
    """Rows that are not done, as far as they are near; else any."""
    done = {row for row, _ in store.rows(limit=LOOK)} if store is not None else set()
    near = islice(made.documents(), LOOK)
    found = list(islice((document for document in near if document.row not in done), cost.SAMPLE))
    return iter(found or list(islice(made.documents(), cost.SAMPLE)))


def _differing(store: Store, made: Prepared) -> list[str]:
    known, asked = store.settings(), made.settings() | made.manner.settings()
    return [name for name in {*known, *asked} if known.get(name) != asked.get(name)]


def changed_lines(request: RunRequest) -> list[str]:
    """What a plan says of the folder: nothing there, going on, or going on with something changed."""
    if not (request.out / FILE).is_file():
        return []
    try:
        differing = _differing(Store(request.out), prepare(request))
    except UserError as error:
        return [str(error)]
    if not differing:
        return [f"go on with the run in {request.out}"]
    return [f"go on with the run in {request.out}; changed since: {', '.join(sorted(differing))}"]
