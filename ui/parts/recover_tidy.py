"""Removing what a recovery has used up, and a recovery itself; always after asking, naming what is lost."""

from __future__ import annotations

import streamlit as st

from core import resources
from core.weights import recovery, recovery_tidy
from core.weights.recovery import Recovery
from core.weights.recovery_tidy import Spent
from ui.i18n import t
from ui.parts import recover_job
from ui.parts.errors import errors_shown, plain


def free_space(chosen: Recovery, *, disabled: bool) -> None:
    spent = recovery_tidy.spent_inputs(chosen)
    if not spent:
        return
    whole = resources.size(sum(one.bytes for one in spent))
    with st.container(border=True):
        st.markdown(f"**{t('These have served: removing them frees {size}', size=whole)}**")
        st.caption(t("Only what was downloaded or made here; your own folders are never touched."))
        for one in spent:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"{_name(one, chosen)} · {resources.size(one.bytes)}", width="stretch")
                _remove(chosen, one, disabled=disabled)


def forget_button(name: str) -> None:
    with st.popover("", icon=":material/delete:", help=t("Remove this recovery")), errors_shown():
        chosen = recovery.read(name)
        place = recovery.workplace(chosen)
        size = resources.size(recovery.bytes_at(place))
        st.write(
            t("Remove this recovery, and {size} in {path}? The model that came out of it stays in Models.",
              size=size, path=plain(str(place)))
        )  # fmt: skip
        job = recover_job.latest(name)
        running = job is not None and not job.over
        if st.button(t("Remove the recovery"), key="recover.forget", icon=":material/delete:", disabled=running):
            recovery_tidy.forget(chosen)
            st.query_params.pop("recovery", None)
            st.rerun()


def _remove(chosen: Recovery, one: Spent, *, disabled: bool) -> None:
    label = t("Remove, {size}", size=resources.size(one.bytes))
    with st.popover(label, icon=":material/delete:", disabled=disabled, key=f"recover.spent.{one.key}"):
        st.write(_lost(one))
        st.caption(plain(str(one.path)))
        if st.button(t("Remove the files"), key=f"recover.remove.{one.key}", icon=":material/delete:"):
            recovery_tidy.remove_spent(chosen, [one.key])
            st.rerun()


def _name(one: Spent, chosen: Recovery) -> str:
    return {
        "base": t("Base model"),
        "delta": t("Weight difference"),
        "recover": t("Recovered weights before the LoRA"),
        "adapter": t("LoRA"),
        "merge": t("Model in full precision"),
    }[one.key]


def _lost(one: Spent) -> str:
    return {
        "base": t("To recover again, the base has to be fetched or made again."),
        "delta": t("To recover again, the difference has to be fetched or made again."),
        "recover": t("To merge another adapter, the weights have to be recovered again."),
        "adapter": t("To merge it again, it has to be fetched or made again."),
        "merge": t("To fine-tune it or to quantize it otherwise, all steps have to be run again. The GGUF file stays."),
    }[one.key]
