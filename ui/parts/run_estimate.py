"""What a run is going to take, beside the buttons that start it: calls, tokens, time, cost, and how it is known."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core import paths
from core.errors import UserError
from core.extract.cost import Estimate
from core.extract.forecast import forecast
from core.extract.run import RunRequest
from ui.i18n import t
from ui.parts.preflight import duration

NOWHERE = ".none"


def estimate_text(request: RunRequest) -> None:
    """Nothing where it can't be told: what is wrong with the request stands elsewhere on the page."""
    try:
        stat = Path(request.input).stat()
        made = _forecast(_told(request), stat.st_mtime_ns, stat.st_size)
    except (UserError, OSError):
        return
    lines = [_calls(made), _time(made)]
    if made.cost is not None:
        lines.append(t("About {cost} at the given prices", cost=f"{made.cost:,.2f}"))
    st.caption("  \n".join(f":material/{icon}: {line}" for icon, line in zip(_ICONS, lines, strict=False)))


_ICONS = ("forum", "schedule", "payments")


@st.cache_data(max_entries=64, ttl=60, show_spinner=False)
def _forecast(request: str, changed: int, size: int) -> Estimate:
    """Kept for a while: a page is drawn anew at every click, and rates change with every run."""
    return forecast(RunRequest.model_validate_json(request))


def _told(request: RunRequest) -> str:
    """A new folder holds nothing yet, whatever it is called."""
    return request.model_copy(update={"out": paths.runs() / NOWHERE}).model_dump_json()


def _calls(made: Estimate) -> str:
    told = {"calls": f"{made.calls:,}", "prompt": f"{made.prompt_tokens:,}", "answer": f"{made.tokens:,}"}
    if made.tokens_from == "measured":
        return t("About {calls} calls, {prompt} tokens to read and {answer} to write, as finished rows took", **told)
    return t("About {calls} calls, {prompt} tokens to read and {answer} to write, by the texts' length", **told)


def _time(made: Estimate) -> str:
    if made.seconds is None:
        return t("How long is not known yet: trying ten rows measures it")
    time = duration(made.seconds)
    if made.time_from == "earlier":
        return t("{n} rows: about {time}, as fast as your last run with this model", n=f"{made.rows:,}", time=time)
    if made.time_from == "bench":
        return t("{n} rows: about {time}, as fast as this model was measured", n=f"{made.rows:,}", time=time)
    return t("{n} rows: about {time}, as fast as so far", n=f"{made.rows:,}", time=time)
