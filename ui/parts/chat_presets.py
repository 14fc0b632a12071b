"""Decoding settings by name: choose, save, send to somebody, bring in what somebody sent."""

from __future__ import annotations

import streamlit as st

from core.errors import UserError
from core.inference import presets
from core.inference.decoding import Decoding
from ui.i18n import t
from ui.parts import decoding
from ui.parts.errors import errors_shown, plain, show_error

CHOSEN = "chat.preset"
_SENT = "chat.preset.sent"
"""Counts the files that were brought in, so that each is read once."""
_READY, _OWN = "ready:", "own:"


def options() -> dict[str, Decoding]:
    """{option: settings}; ready-made ones and one's own may have the same name."""
    ready = {_READY + name: settings for name, settings in presets.READY.items()}
    try:
        return ready | {_OWN + name: settings for name, settings in presets.own().items()}
    except UserError as error:
        show_error(error)
        return ready


def label(option: str) -> str:
    names = {
        "": t("Own settings"),
        "ready:precise": t("Precise"),
        "ready:balanced": t("Balanced"),
        "ready:creative": t("Creative"),
        "ready:knowlm": t("Extraction as in KnowLM"),
        "ready:oneke": t("Extraction as in OneKE"),
    }
    return names.get(option, option.removeprefix(_OWN))


def preset_choice(key: str) -> None:
    """The preset that the controls stand at, and the others; above the controls."""
    known = options()
    now = decoding.current(key)
    last = st.session_state.get(CHOSEN)
    same = [option for option, settings in known.items() if settings == now]
    st.session_state[CHOSEN] = last if last in same else next(iter(same), "")
    choose, more = st.columns([5, 2], vertical_alignment="bottom")
    choose.selectbox(
        t("Preset"),
        list(known) if same else ["", *known],
        format_func=label,
        key=CHOSEN,
        on_change=_apply,
        args=(key,),
        help=t("The extraction ones are what the authors of these models used."),
    )
    with more.popover("", icon=":material/bookmark:", help=t("Save and share presets"), key="chat.presets"):
        _save(now)
        _own(known)
        _bring()


def _apply(key: str) -> None:
    chosen = options().get(st.session_state[CHOSEN])
    if chosen is not None:
        decoding.put(key, chosen)


def _save(now: Decoding) -> None:
    with st.form("chat.preset.save", clear_on_submit=True, border=False):
        name = st.text_input(t("Save these settings as"), max_chars=60)
        if st.form_submit_button(t("Save"), icon=":material/bookmark_add:"):
            with errors_shown():
                presets.save(name, now)
                st.rerun()


def _own(known: dict[str, Decoding]) -> None:
    own = {option.removeprefix(_OWN): settings for option, settings in known.items() if option.startswith(_OWN)}
    chosen = st.session_state[CHOSEN]
    if chosen.startswith(_OWN) and st.button(
        t("Delete “{name}”", name=plain(label(chosen))), icon=":material/delete:", key="chat.preset.delete"
    ):
        with errors_shown():
            presets.remove(label(chosen))
            st.rerun()
    st.download_button(
        t("Export my presets"),
        presets.as_json(own),
        "presets.json",
        "application/json",
        icon=":material/download:",
        disabled=not own,
        on_click="ignore",
        key="chat.preset.export",
    )


def _bring() -> None:
    times = st.session_state.get(_SENT, 0)
    sent = st.file_uploader(t("Import presets"), type="json", key=f"chat.preset.import.{times}", max_upload_size=1)
    if sent is None:
        return
    with errors_shown():
        names = presets.bring(sent.getvalue().decode("utf-8", "replace"))
        st.session_state[_SENT] = times + 1
        st.toast(t("Imported: {names}", names=plain(", ".join(names))), icon=":material/check:")
        st.rerun()
