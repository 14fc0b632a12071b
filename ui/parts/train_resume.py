"""Going on with a training that was paused, stopped or died, or with one that is to learn more: from which
checkpoint, and what is different from before."""

from __future__ import annotations

from typing import Any

import streamlit as st
from pydantic import ValidationError

from core import operation
from core.jobs import store
from core.launchers import earlier
from core.launchers.finetune import FinetuneRequest
from core.launchers.pretrain_request import PretrainRequest
from ui.i18n import t
from ui.parts import pretrain_result, pretrain_setup
from ui.parts.errors import errors_shown, plain
from ui.parts.preflight import show_needs
from ui.parts.request_form import label_of
from ui.parts.train_runs import Training
from ui.parts.train_settings import settings_form
from ui.parts.train_start import Request


def resume(training: Training, *, main: bool) -> None:
    """Draw it. `main`: this is what the page is about now, so its button is the primary one."""
    before = earlier.settings(training.out) or training.asked
    saved = [folder.name for folder in reversed(earlier.checkpoints(training.out))]
    key = f"train.resume.{training.out.name}"
    if saved:
        name = st.selectbox(t("Go on from"), saved, key=f"{key}.checkpoint", width=320)
    else:
        name = ""
        st.caption(t("No checkpoint was saved yet, so it starts from the beginning."))
    kind = PretrainRequest if pretrain_result.is_pretraining(training) else FinetuneRequest
    request = _request(kind, before, key, str(name or ""))
    if request is None:
        return
    changed = differences(before, request)
    if changed:
        st.markdown(f"**{t('Different from before')}**")
        st.table(
            [{t("Setting"): name, t("Before"): old, t("Now"): new} for name, old, new in changed],
            border="horizontal",
            hide_index=True,
            width="content",
        )
    else:
        st.caption(t("With the settings it had: the losses that follow are those it would have had without a break."))
    with errors_shown():
        fits = show_needs(operation.of(request).estimate(request))
        label = t("Go on from {checkpoint}", checkpoint=name) if name else t("Start again")
        if st.button(
            label,
            type="primary" if main else "secondary",
            icon=":material/play_arrow:",
            key=f"{key}.start",
            disabled=not fits,
        ):
            store.submit(request)
            st.rerun()


def _request(kind: type[Request], before: dict[str, Any], key: str, checkpoint: str) -> Request | None:
    known = {name: value for name, value in before.items() if name in kind.model_fields}
    known |= {"resume": checkpoint, "dry_run": False}
    try:
        same = kind.model_validate(known)
    except ValidationError as error:
        st.error(plain(str(error.errors(include_url=False)[0]["msg"])), icon=":material/error:")
        return None
    if not st.toggle(t("Change its settings"), key=f"{key}.change"):
        return same
    if isinstance(same, PretrainRequest):
        return pretrain_setup.settings_form(key, {**known, **same.model_dump()}, beside=3)
    return settings_form(key, {**known, **same.model_dump()}, changing=True, beside=3)


def differences(before: dict[str, Any], request: Request) -> list[tuple[str, str, str]]:
    """(setting, before, now) of all that decides what is learned."""
    made = []
    for told in earlier.differences(before, request):
        name, _, values = told.partition(": ")
        old, _, new = values.partition(" → ")
        made.append((plain(t(label_of(name))), plain(old), plain(new)))
    return made
