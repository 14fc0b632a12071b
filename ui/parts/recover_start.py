"""Beginning a recovery: the ways to a model, the cheapest first, each with what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import streamlit as st

from core import resources
from core.operation import Needs
from core.weights import catalog, recovery, recovery_run
from core.weights.recovery import Part, Recovery
from core.weights.sources import SourceName
from ui.i18n import language, t
from ui.parts import recover_job
from ui.parts.errors import errors_shown
from ui.parts.recover_head import show_all_needs

NEW = "_new"
"""`?recovery=_new`: no recovery is called so."""
SOURCES = {"hub": "Hugging Face", "mirror": "hf-mirror", "modelscope": "ModelScope"}
WAYS = ("merged", "zhixi-13b", "own", "sample")


def start(*, beside: bool) -> None:
    if beside and st.button(t("Back to the recoveries"), icon=":material/arrow_back:", key="recover.back"):
        st.query_params.pop("recovery", None)
        st.rerun()
    st.markdown(
        t("Some models may only be published as a difference to a base that you must hold yourself. "
          "Here base and difference become a model that runs on this machine, in little memory.")
    )  # fmt: skip
    way = st.radio(t("Which way?"), WAYS, format_func=_title, captions=[_cost(way) for way in WAYS], key="recover.way")
    with st.container(border=True), errors_shown():
        chosen = _form(way)
        needs = recovery_run.needs_of(chosen, list(recovery.keys(chosen)))
        fits = show_all_needs(chosen, list(recovery.keys(chosen)), needs) if needs.disk else True
        _begin(chosen, fits=fits, needs=needs)


def _begin(chosen: Recovery, *, fits: bool, needs: Needs) -> None:
    is_sample = chosen.family == "sample"
    label = (
        t("Make the sample family, {size}", size=resources.size(recovery_run.needs(chosen, "base").disk or 0))
        if is_sample
        else t("Begin with these steps")
    )
    if st.button(
        label, type="primary", icon=":material/play_arrow:", key="recover.begin", disabled=is_sample and not fits
    ):
        recovery.begin(chosen)
        st.query_params["recovery"] = chosen.name
        if is_sample:
            recover_job.start(chosen.name, "base")
        st.rerun()


def _title(way: str) -> str:
    return {
        "merged": t("ZhiXi-13B, merged: the cheapest way"),
        "zhixi-13b": t("ZhiXi-13B, recovered from LLaMA-13B"),
        "own": t("Another model, from a base and a difference"),
        "sample": t("A small sample, made here, to try it all"),
    }[way]


def _cost(way: str) -> str:
    merged, lora = catalog.find(recovery.ZHIXI_MERGED), catalog.find(recovery.ZHIXI_LORA)
    half, whole = (catalog.find(one) for one in recovery.ZHIXI_DIFFS)
    return {
        "merged": t(
            "Its authors publish the merged weights too: {size} to download, then quantize. No LLaMA is needed.",
            size=resources.size(merged.bytes),
        ),
        "zhixi-13b": t(
            "For those who hold LLaMA-13B: {half} or {whole} of difference and {lora} of LoRA to download.",
            half=resources.size(half.bytes),
            whole=resources.size(whole.bytes),
            lora=resources.size(lora.bytes),
        ),
        "own": t("Any LLaMA-like model that is published as a difference, with or without a LoRA."),
        "sample": t("Base in Meta's layout, difference and LoRA of a small model: every step within a minute."),
    }[way]


def _form(way: str) -> Recovery:
    """What each way has to know; all of it can be changed in the steps later."""
    if way == "sample":
        return recovery.sample(_free("sample-family"))
    if way == "merged":
        return recovery.of_merged(_free("zhixi-13b"), source=_source(recovery.ZHIXI_MERGED))
    if way == "zhixi-13b":
        base = st.text_input(
            t("Folder of LLaMA-13B"),
            key="recover.begin.base",
            placeholder=t("Path of a folder"),
            help=t("Meta's consolidated.*.pth files are read directly; a Hugging Face folder does as well."),
        )
        diff = st.segmented_control(
            t("Precision of the difference"),
            recovery.ZHIXI_DIFFS,
            default=recovery.ZHIXI_DIFFS[0],
            format_func=lambda one: f"{catalog.find(one).precision} · {resources.size(catalog.find(one).bytes)}",
            key="recover.begin.diff",
            required=True,
        )
        source = _source(*recovery.ZHIXI_DIFFS, recovery.ZHIXI_LORA)
        made = recovery.of_zhixi(_free("zhixi-13b"), diff or recovery.ZHIXI_DIFFS[0], source=source)
        return made.model_copy(update={"base": recovery.part(base), "folder": _folder()})
    name = st.text_input(t("Name"), "my-model", key="recover.begin.name", max_chars=60)
    with_lora = st.toggle(t("With a LoRA to merge"), key="recover.begin.lora")
    return recovery.named(name).model_copy(
        update={"adapter": Part() if with_lora else None, "source": _source(), "folder": _folder()}
    )


def _source(*wanted: str) -> SourceName:
    """Where downloads come from, of those that hold all these catalog entries; the mirror where Chinese is spoken."""
    held = [catalog.find(one).sources for one in wanted]
    names = [name for name in get_args(SourceName) if name != "modelscope" or all(name in one for one in held)]
    if st.session_state.get("recover.source") not in names:
        st.session_state.pop("recover.source", None)
    default = "mirror" if language() == "zh" else "hub"
    picked = st.segmented_control(
        t("Download from"), names, default=default, format_func=SOURCES.__getitem__, key="recover.source", required=True
    )
    return picked or default  # type: ignore[return-value]


def _folder() -> Path | None:
    with st.expander(t("Advanced"), icon=":material/tune:"):
        typed = st.text_input(
            t("Folder for what is made on the way"),
            key="recover.begin.folder",
            placeholder=str(recovery.folder()),
            help=t("On another disk, if the workspace's has too little room."),
        )
    return Path(typed).expanduser().absolute() if typed.strip() else None


def _free(name: str) -> str:
    """The name, or with the first number that makes it a new one."""
    numbered = (name if n == 1 else f"{name}-{n}" for n in range(1, 1000))
    return next(one for one in numbered if not recovery.is_taken(one))
