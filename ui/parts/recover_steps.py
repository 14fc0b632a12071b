"""The steps of a recovery, one under the other: state, what is there, needs, choices, and each step's own button."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from pydantic import ValidationError

from core import operation, resources, settings
from core.errors import UserError
from core.operation import Needs
from core.weights import catalog, published, recovery, recovery_run, recovery_steps, recovery_tidy
from core.weights.download import DownloadRequest
from core.weights.recovery import Key, Part, Recovery
from core.weights.recovery_steps import Step
from ui.i18n import t
from ui.parts import recover_job
from ui.parts.errors import errors_shown, plain, show_error
from ui.parts.operation_form import PLAN_LINES
from ui.parts.preflight import duration
from ui.parts.recover_texts import about, title, verb

BADGES = {
    "done": ("green", ":material/check:"),
    "spent": ("green", ":material/check:"),
    "next": ("blue", ":material/arrow_forward:"),
    "choose": ("orange", ":material/edit:"),
    "waiting": ("gray", ":material/schedule:"),
    "wrong": ("red", ":material/error:"),
    "running": ("blue", ":material/play_arrow:"),
}
PART_OF: dict[Key, str] = {"base": "base", "delta": "delta", "merge": "adapter"}
"""The part that a step gets -> the field of Recovery that says where from."""


def step_list(chosen: Recovery, steps: list[Step], running: Key | None) -> None:
    took, lacking = recover_job.receipts(chosen.name), recovery_steps.not_chosen(chosen)
    for number, step in enumerate(steps, start=1):
        with st.container(border=True):
            state = "choose" if step.state == "next" and step.key in lacking else step.state
            with st.container(horizontal=True, vertical_alignment="center"):
                _title(number, title(chosen, step.key), "running" if step.key == running else state)
                if running is None:
                    _again(chosen, steps, step)
            if not step.over:
                st.caption(about(chosen, step.key))
            else:
                _made(chosen, step, took.get(step.key))
            if step.error is not None:
                show_error(step.error)
            if running is None:
                _choices(chosen, steps, step)
                if not step.over:
                    _run(chosen, step)


def _title(number: int, name: str, state: str) -> None:
    colour, icon = BADGES[state]
    st.markdown(f"**{number} · {plain(name)}**", width="content")
    st.badge(_state_name(state), icon=icon, color=colour)  # type: ignore[arg-type]


def _state_name(state: str) -> str:
    return {
        "done": t("done"),
        "spent": t("done, removed since"),
        "next": t("ready"),
        "choose": t("to be chosen"),
        "waiting": t("later"),
        "wrong": t("wrong"),
        "running": t("running"),
    }[state]


def _made(chosen: Recovery, step: Step, took: dict | None) -> None:
    """What lies where, with its checksum."""
    parts = []
    if step.state == "done" and step.key != "verify":
        parts += [f":material/folder: {plain(str(step.out))}", resources.size(step.size)]
    checksum = recovery_steps.checksum(chosen, step.key)
    if step.state == "done" and checksum:
        parts.append(f"sha256 {checksum[:16]}…")
    if took is not None and took["seconds"] >= 1:
        parts.append(t("took {time}", time=duration(took["seconds"])))
    if parts:
        st.caption(" · ".join(parts))
    total = recovery_steps.element_sum(chosen) if step.key == "recover" and step.state == "done" else None
    if total is not None:
        _sum(total, recovery_steps.compared_sum(chosen))


def _sum(total: float, compared: published.Compared | None) -> None:
    if compared is None:
        st.caption(t("Sum of all elements: {sum}", sum=f"{total:,.4f}"))
        return
    numbers = {"sum": f"{compared.ours:,.4f}", "published": f"{compared.published:,.4f}"}
    if compared.agrees:
        said = t("Sum of all elements, counted as its authors did: {sum}. They published {published}, added in fp32: "
                 "the same model.", **numbers)  # fmt: skip
        st.caption(f":green[:material/verified:] {said}")
    else:
        st.warning(
            t("Sum of all elements, counted as its authors did: {sum}. They published {published}, which is another "
              "model: verify base and difference.", **numbers),
            icon=":material/warning:",
        )  # fmt: skip


def _again(chosen: Recovery, steps: list[Step], step: Step) -> None:
    """Away with an output, where it can be made again: one that is broken, or was made from something else."""
    before = steps[max(0, [one.key for one in steps].index(step.key) - 1)]
    if step.key not in ("recover", "merge", "export") or step.size == 0 or before.state in ("spent", "waiting"):
        return
    with st.popover(
        t("Make it again"), icon=":material/restart_alt:", type="tertiary", key=f"recover.again.{step.key}"
    ):
        st.write(
            t("Remove {path}, {size}, and what was made from it? It can be made again from its inputs.",
              path=plain(str(step.out)), size=resources.size(step.size))
        )  # fmt: skip
        if st.button(t("Remove the files"), key=f"recover.undo.{step.key}", icon=":material/delete:"):
            recovery_tidy.undo(chosen, step.key)
            st.rerun()


def _run(chosen: Recovery, step: Step) -> None:
    """Needs, and the button of this step alone where it can run now."""
    lacking = step.key in recovery_steps.not_chosen(chosen)
    if step.state == "wrong" or lacking:
        return
    needs = recovery_run.needs(chosen, step.key)
    downloads = step.key in PART_OF and chosen.family != "sample" and bool(recovery_steps.downloads(chosen, step.key))
    offline = downloads and settings.read().offline
    with st.container(horizontal=True, vertical_alignment="center"):
        if step.state == "next" and st.button(
            verb(chosen, step.key), key=f"recover.run.{step.key}", icon=":material/play_arrow:", disabled=offline
        ):
            with errors_shown():
                recover_job.start(chosen.name, step.key)
                st.rerun()
        st.caption(_needs_line(needs), width="content")
    if step.state == "next" and step.key in ("recover", "merge", "export"):
        _plan(chosen, step)
    if offline:
        st.caption(t("Offline is switched on in Settings, so nothing is downloaded."))


def _plan(chosen: Recovery, step: Step) -> None:
    """Every tensor, where it comes from, and its bytes; read only when asked for."""
    if not st.toggle(t("Show the plan"), key=f"recover.plan.{step.key}"):
        return
    with errors_shown():
        for request in recovery_steps.requests(chosen, step.key):
            made = operation.of(request)
            if made.plan is not None and not isinstance(request, DownloadRequest):
                lines = made.plan(request)
                st.code("\n".join(lines[:PLAN_LINES]), language=None, height=min(320, 40 + 20 * len(lines)))


def _needs_line(needs: Needs) -> str:
    parts = []
    if needs.ram is not None:
        parts.append(t("{size} of memory", size=resources.size(needs.ram)))
    if needs.disk:
        parts.append(t("{size} of disk", size=resources.size(needs.disk)))
    if needs.seconds is not None:
        parts.append(t("about {time}", time=duration(needs.seconds)))
    if not parts:
        return ""
    short = bool(resources.shortages(needs))
    mark = ":red[:material/close:]" if short else ":green[:material/check:]"
    return f"{mark} {t('needs {what}', what=' · '.join(parts))}"


# --- choices ------------------------------------------------------------------------------------


def _choices(chosen: Recovery, steps: list[Step], step: Step) -> None:
    """A part can be chosen until it has been used; the precision as long as there is something to quantize."""
    user = {"base": "recover", "delta": "recover"}.get(step.key, step.key)
    used = any(one.key == user and one.over for one in steps) or (chosen.family == "merged" and step.over)
    if step.key in PART_OF and chosen.family != "sample" and not used:
        _part(chosen, step)
    if step.key == "export" and (step.state != "done" or recovery.full_precision(chosen).is_dir()):
        _precision(chosen)


def _part(chosen: Recovery, step: Step) -> None:
    name = PART_OF[step.key]
    if step.key == "delta" and chosen.family == "zhixi-13b":
        _which_diff(chosen)
    now: Part = getattr(chosen, name)
    key = f"recover.{chosen.name}.{name}"
    typed = st.text_input(
        {
            "base": t("Folder of the base model, or a repository"),
            "delta": t("Folder of the difference, or a repository"),
            "adapter": t("Folder of the adapter, or a repository"),
        }[name],
        str(now.folder or now.repo),
        key=f"{key}.{now.folder or now.repo}",
        placeholder=t("/path/to/folder or owner/name"),
        help=t("A folder is used where it is and never changed; a repository is downloaded first."),
    )
    if typed.strip() != str(now.folder or now.repo):
        with errors_shown():
            _save(chosen, **{name: recovery.part(typed)})
    if step.key == "base" and chosen.family == "zhixi-13b" and not now.chosen:
        st.caption(f":material/info: {t(catalog.find(recovery.ZHIXI_BASE).note)}")


def _which_diff(chosen: Recovery) -> None:
    entries = {catalog.find(one).sources["hub"]: catalog.find(one) for one in recovery.ZHIXI_DIFFS}
    now = chosen.delta.repo if chosen.delta.repo in entries else None
    picked = st.segmented_control(
        t("Precision of the difference"),
        list(entries),
        default=now,
        format_func=lambda repo: f"{entries[repo].precision} · {resources.size(entries[repo].bytes)}",
        key=f"recover.{chosen.name}.diff.{now}",
        help="  \n".join(f"{entry.precision}: {t(entry.note)}" for entry in entries.values()),
    )
    if picked and picked != chosen.delta.repo:
        _save(chosen, delta=Part(repo=picked))


def _precision(chosen: Recovery) -> None:
    """Q8_0, Q4_0 or F16, each with what it takes to run it here."""
    count = recovery.elements(chosen)
    total = resources.ram()[0]
    proposed = recovery.proposed_quant(count)
    options = ("Q8_0", "Q4_0", "F16")
    now = recovery.quant(chosen)
    picked = st.selectbox(
        t("Precision"),
        options,
        options.index(now),
        format_func=_precision_label(count, proposed),
        key=f"recover.{chosen.name}.quant.{now}",
        width=600,
    )
    if count is not None and recovery.memory_to_run(count, now) > 0.9 * total:
        st.warning(
            t("Running it takes {needed} of memory, this machine has {total}.",
              needed=resources.size(recovery.memory_to_run(count, now)), total=resources.size(total)),
            icon=":material/warning:",
        )  # fmt: skip
    if picked != now:
        _save(chosen, quant=picked)


def _precision_label(count: int | None, proposed: str) -> Callable[[str], str]:
    what = {"Q8_0": t("nearly lossless"), "Q4_0": t("smallest"), "F16": t("not quantized")}

    def label(one: str) -> str:
        parts = [f"{one}: {what[one]}"]
        if count is not None:
            needed = recovery.memory_to_run(count, one)  # type: ignore[arg-type]
            parts.append(t("{size} of memory to run", size=resources.size(needed)))
        return " · ".join([*parts, *([t("proposed for this machine")] if one == proposed else [])])

    return label


def _save(chosen: Recovery, **changes: object) -> None:
    try:
        recovery.write(Recovery.model_validate({**dict(chosen), **changes}))
    except ValidationError as error:
        raise UserError(
            "“{value}” can't be used here.", remedy="Check what you typed.", value=next(iter(changes.values()))
        ) from error
    st.rerun()
