"""Where the bytes of a corpus went, a source and rule; a row opens samples of the documents behind it."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import resources
from core.launchers.corpus import Ledger, SourceLedger, Tally
from ui.i18n import t
from ui.parts.data_corpora import Corpus, name_of
from ui.parts.data_rules import outcome_name, rule_name, why
from ui.parts.errors import plain, show_error
from ui.parts.train_data import own_name

Entry = tuple[str, str, str, Tally, float]
"""Source, outcome, rule, tally, its share of the source's bytes."""
TABLE_HEIGHT = 420


def ledger_table(corpus: Corpus, ledger: Ledger) -> None:
    entries = [entry for source in ledger.sources for entry in _entries(source)]
    _balance(ledger)
    left, right = st.columns([11, 10], gap="medium")
    first = next((place for place, entry in enumerate(entries) if entry[1] != "packed"), 0)
    with left:
        rows = st.dataframe(
            [_cells(entry) for entry in entries],
            hide_index=True,
            height=min(TABLE_HEIGHT, 38 + 35 * len(entries)),
            column_config=_columns(),
            on_select="rerun",
            selection_mode="single-row",
            selection_default={"selection": {"rows": [first]}},
            key=f"data.ledger.{name_of(corpus.out)}",
        )["selection"]["rows"]
        _notes(ledger)
    with right:
        if rows and rows[0] < len(entries):
            _samples(corpus, entries[rows[0]])
        else:
            st.caption(t("Choose a row to see documents behind it."))


def _entries(source: SourceLedger) -> list[Entry]:
    whole = max(1, source.read.bytes)
    told = [("packed", "", source.packed)]
    for outcome in ("filtered", "duplicates", "unreadable"):
        told += [(outcome, rule, tally) for rule, tally in getattr(source, outcome).items()]
    return [(source.name, outcome, rule, tally, tally.bytes / whole) for outcome, rule, tally in told]


def _cells(entry: Entry) -> dict[str, Any]:
    source, outcome, rule, tally, share = entry
    return {
        "source": source,
        "outcome": outcome_name(outcome),
        "rule": rule_name(rule) if rule else "",
        "documents": tally.documents,
        "bytes": resources.size(tally.bytes),
        "share": share,
    }


def _columns() -> dict[str, Any]:
    text = st.column_config.TextColumn
    return {
        "source": text(t("Source")),
        "outcome": text(t("What became of it")),
        "rule": text(t("Rule")),
        "documents": st.column_config.NumberColumn(t("Documents"), format="localized"),
        "bytes": text(t("Bytes")),
        "share": st.column_config.ProgressColumn(t("Share"), format="percent", min_value=0, max_value=1),
    }


def _balance(ledger: Ledger) -> None:
    read = sum((source.read for source in ledger.sources), Tally())
    if all(source.balanced for source in ledger.sources):
        st.markdown(
            ":green[:material/check:] "
            + t(
                "Every byte is accounted for: {bytes} in {documents} rows read, as many packed, left out, copies or "
                "unreadable.",
                bytes=resources.size(read.bytes),
                documents=f"{read.documents:,}",
            )
        )
    else:
        st.warning(t("The books don't balance: build this corpus anew."), icon=":material/warning:")


def _notes(ledger: Ledger) -> None:
    mended = sum(sum(source.repaired.values()) for source in ledger.sources)
    masked = sum(sum(source.masked.values()) for source in ledger.sources)
    said = [t("{n} documents mended", n=f"{mended:,}")] if mended else []
    said += [t("{n} places masked", n=f"{masked:,}")] if masked else []
    if said:
        st.caption(" · ".join(said))
    for damage in (one for source in ledger.sources for one in source.damaged):
        show_error(damage.why)


def _samples(corpus: Corpus, entry: Entry) -> None:
    source, outcome, rule, tally, _ = entry
    if outcome == "packed":
        st.caption(t("What was packed is shown below, as the model will read it."))
        return
    st.markdown(f"**{plain(rule_name(rule))}** · {plain(source)}")
    if told := why(rule):
        st.caption(plain(told))
    found = [one for one in corpus.dropped if (one.source, one.outcome, one.rule) == (source, outcome, rule)]
    if not found:
        st.caption(t("No document was kept to be shown."))
        return
    with st.container(height=TABLE_HEIGHT, border=False):
        for one in found:
            with st.container(border=True, gap="small"):
                place = f"{own_name(one.file.rpartition('/')[2])}:{one.offset}"
                st.caption(plain(" · ".join(part for part in (one.told, place, resources.size(one.size)) if part)))
                st.text(one.text or "–")
    if tally.documents > len(found):
        st.caption(t("{n} of {all}, chosen by chance.", n=len(found), all=f"{tally.documents:,}"))
