"""The first documents of the chosen sources, as a build would make them: their text, or the rule that drops them."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core import operation, resources
from core.launchers.corpus import BuildRequest, Looked, LookedSource, LookRequest
from core.operation import Silent
from ui.i18n import t
from ui.parts.data_rules import outcome_name, rule_name, why
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.train_data import own_name

DOCUMENTS = 20
HEIGHT = 420


def preview(request: BuildRequest | None) -> None:
    st.subheader(t("What becomes of the texts"))
    if request is None or not request.sources:
        st.caption(t("Choose sources: then their first documents are shown as they will be packed."))
        return
    with errors_shown():
        asked = LookRequest(**{name: getattr(request, name) for name in _SHARED}, documents=DOCUMENTS)
        looked = _looked(asked.model_dump_json(), _stamps(request))
        names = [one.name for one in looked]
        chosen = names[0]
        if len(names) > 1:
            chosen = st.segmented_control(
                t("Source"), names, default=names[0], key="data.preview", label_visibility="collapsed", required=True
            )
        _source(next((one for one in looked if one.name == chosen), looked[0]))


_SHARED = ("sources", "repair", "quality", "harmful", "mask", "rules", "words", "longest_line")


def _stamps(request: BuildRequest) -> tuple[float, ...]:
    """When the files were last changed, so that what is shown is theirs."""
    places = (Path(path) for source in request.sources for path in source.path)
    return tuple(place.stat().st_mtime for place in places if place.exists())


@st.cache_data(max_entries=8, show_spinner=False)
def _looked(asked: str, stamps: tuple[float, ...]) -> list[LookedSource]:
    request = LookRequest.model_validate_json(asked)
    return list(operation.find("corpus look").run(request, Silent()).sources)  # type: ignore[attr-defined]


def _source(source: LookedSource) -> None:
    facts = [
        t("{n} files", n=f"{source.files:,}"),
        t("about {size} of text", size=resources.size(source.bytes)),
        t("fields: {names}", names=", ".join(plain(name) for name in source.fields) or "–"),
    ]
    st.caption(" · ".join(facts))
    if source.damage:
        show_error(source.damage)
    if not source.documents:
        st.info(t("There is no document in it."), icon=":material/help:")
    with st.container(height=HEIGHT if len(source.documents) > 3 else "content", border=False):
        for one in source.documents:
            _document(one)


def _document(one: Looked) -> None:
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            if one.outcome:
                label = f"{outcome_name(one.outcome)}: {rule_name(one.rule)}"
                st.badge(plain(label), icon=":material/block:", color="orange")
                st.caption(plain(one.told), width="content", help=why(one.rule) or None)
            else:
                st.badge(t("kept"), icon=":material/check:", color="green")
                if done := done_to(one):
                    st.caption(done, width="content")
            st.caption(plain(f"{own_name(Path(one.file).name)}:{one.offset}"), width="content")
        if one.text:
            st.text(one.text[:600] + ("…" if len(one.text) > 600 else ""))


def done_to(one: Looked) -> str:
    names = {
        "encoding": t("wrong letters mended"),
        "letters": t("letters in one form"),
        "spaces": t("spaces in one form"),
        "broken_bytes": t("broken bytes replaced"),
    }
    said = [names[name] for name in one.repaired if name in names]
    if one.masked:
        said.append(t("{n} places masked", n=sum(one.masked.values())))
    return " · ".join(said)
