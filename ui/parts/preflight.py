"""What a request needs against what is free, before anything starts."""

from __future__ import annotations

import streamlit as st

from core import operation, resources
from core.operation import Needs, Request
from ui.i18n import error_text, t
from ui.parts.errors import plain


def preflight(request: Request) -> bool:
    """Draw needs against what is free; True if it fits (what is not known counts as fitting)."""
    return show_needs(operation.of(request).estimate(request))


def show_needs(needs: Needs) -> bool:
    """The same for needs already known."""
    short = resources.shortages(needs)
    lines = [_line(mark, label, needed, free) for mark, label, needed, free in _rows(needs)]
    if needs.seconds is not None:
        lines.append(f":gray[:material/schedule:] {t('Time: about {time}', time=duration(needs.seconds))}")
    if lines:
        st.markdown("  \n".join(lines))
    for shortage in short:
        problem, remedy = error_text(shortage)
        st.warning(f"**{plain(problem)}**\n\n{plain(remedy)}", icon=":material/warning:")
    return not short


def duration(seconds: float) -> str:
    """A time a person can plan with: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return t("{n} s", n=f"{seconds:.0f}")
    if seconds < 5400:
        return t("{n} min", n=f"{seconds / 60:.0f}")
    return t("{n} h", n=f"{seconds / 3600:.1f}")


def _rows(needs: Needs) -> list[tuple[bool, str, int, int]]:
    """(fits, label, needed, free) of every known need."""
    rows = []
    if needs.ram is not None:
        free = resources.ram()[1]
        rows.append((needs.ram <= free, t("Memory"), needs.ram, free))
    if needs.vram is not None:
        free = max((card.free for card in resources.gpus()), default=0)
        rows.append((needs.vram <= free, t("GPU memory"), needs.vram, free))
    if needs.disk is not None:
        free = resources.disk_free(needs.disk_at)
        rows.append((needs.disk <= free, t("Disk"), needs.disk, free))
    return rows


def _line(fits: bool, label: str, needed: int, free: int) -> str:
    mark = ":green[:material/check:]" if fits else ":red[:material/close:]"
    text = t(
        "{what}: needs {needed}, {free} free", what=label, needed=resources.size(needed), free=resources.size(free)
    )
    return f"{mark} {text}"
