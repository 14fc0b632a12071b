"""From what is chosen to a training: its name, what is loaded, what it needs, and the one button."""

from __future__ import annotations

import re
from pathlib import Path

import streamlit as st

from core import operation, resources
from core.inference import client
from core.jobs import store
from core.launchers import prepare, pretrain_prepare
from core.launchers.finetune import FinetuneRequest
from core.launchers.pretrain_request import PretrainRequest
from core.operation import Needs
from ui.i18n import t
from ui.parts import train_runs
from ui.parts.errors import errors_shown, plain
from ui.parts.preflight import duration, show_needs
from ui.parts.train_runs import QUEUED

Request = FinetuneRequest | PretrainRequest
NAME = re.compile(r"[\w][\w .-]{0,79}")


def name_input(wanted: str) -> Path | None:
    """The folder of the new training, or None where its name can't be used."""
    free = train_runs.new_name(wanted)
    name = st.text_input(
        t("Name"),
        free,
        key=f"train.name.{free}",
        max_chars=80,
        help=t("The adapter, its checkpoints and its metrics go into a folder of this name in the workspace."),
    ).strip()
    if not NAME.fullmatch(name):
        st.caption(f":red[:material/error:] {t('A name of letters, digits, dots and dashes, please.')}")
        return None
    if not train_runs.is_free(name):
        st.caption(f":red[:material/error:] {t('A training or a model has this name already.')}")
        return None
    return train_runs.folder() / name


def loaded_model() -> bool:
    """Offer to unload the model host, which holds memory; True if it is to be unloaded when the training starts."""
    status = client.status()
    if status.state not in ("ready", "loading"):
        return True
    with st.container(border=True):
        held = resources.size(status.rss) if status.rss else ""
        said = t("**{model}** is loaded and holds {memory} of memory.", model=plain(status.title), memory=held)
        if not held:
            said = t("**{model}** is loaded and holds memory.", model=plain(status.title))
        st.markdown(f":material/memory: {said}")
        wanted = st.toggle(t("Unload it when the training starts"), True, key="train.unload")
        if st.button(t("Unload it now"), key="train.unload.now", icon=":material/eject:"):
            with errors_shown():
                client.unload()
                st.rerun()
    return wanted


def start_button(request: Request | None, missing: str, *, main: bool = True) -> bool:
    """Draw preflight and the button; True once it was pressed and the training is on its way.

    `main`: False where another button comes first, such as that which fetches a model.
    """
    if request is None:
        st.button(
            t("Start training"),
            type="primary" if main else "secondary",
            icon=":material/play_arrow:",
            key="train.start",
            disabled=True,
            help=missing,
        )
        return False
    needs, fits = Needs(), False
    with errors_shown():
        needs = operation.of(request).estimate(request)
        fits = show_needs(needs)
        _how(request)
        if not fits and client.status().state == "ready" and request.unload_host:
            st.caption(t("Unload the model above first: its memory then counts as free."))
    if queued := [job for job in store.all_jobs() if job.operation in QUEUED and not job.over]:
        st.info(
            t(
                "{n} training is running or waiting. This one starts when it is its turn; to start it at once, switch "
                "on “At once” under Advanced.",
                n=len(queued),
            ),
            icon=":material/queue:",
        )
    label = t("Start training")
    if needs.seconds:
        label = t("Start training, about {time}", time=duration(needs.seconds))
    if st.button(label, type="primary", icon=":material/play_arrow:", key="train.start", disabled=not fits):
        with errors_shown():
            store.submit(request)
            return True
    return False


def _how(request: Request) -> None:
    """What was left open and is decided by the memory found."""
    if isinstance(request, PretrainRequest):
        _steps(pretrain_prepare.prepared(request))
        return
    made = prepare.prepared(request)
    switched = t("on") if made.how.checkpointing else t("off")
    st.caption(
        t(
            "Chosen for this machine: {precision}, {tokens} tokens a pass, gradient checkpointing {switched}, "
            "{ranks} process on {what}",
            precision=made.how.precision,
            tokens=f"{made.how.tokens:,}",
            switched=switched,
            ranks=made.how.ranks,
            what=t("GPU") if made.how.cuda else t("the processor"),
        )
    )


def _steps(made: pretrain_prepare.Prepared) -> None:
    switched = t("on") if made.how.checkpointing else t("off")
    st.caption(
        t(
            "{steps} steps, {tokens} M tokens; chosen for this machine: {precision}, {rows} rows a pass, {passes} "
            "passes a step, gradient checkpointing {switched}, {ranks} process on {what}",
            steps=f"{made.steps:,}",
            tokens=f"{made.tokens / 1e6:,.4g}",
            precision=made.how.precision,
            rows=made.request.micro_batch,
            passes=made.passes,
            switched=switched,
            ranks=made.how.ranks,
            what=t("GPU") if made.how.cuda else t("the processor"),
        )
    )
