"""Share with others: a page for other people, started and stopped as a job, with its address and password."""

from __future__ import annotations

import streamlit as st

from core.errors import UserError
from core.jobs import store
from core.serve import share_password
from core.serve.guard import is_loopback
from core.serve.share import ADDRESS, PUBLIC, ShareRequest, needs_login
from ui.i18n import t
from ui.parts.errors import errors_shown, plain, show_error

OPERATION = "share"
EVERYWHERE = "0.0.0.0"  # noqa: S104 - offered by name, and refused without a password
FORM = ("port", "per_minute", "per_visitor", "characters")


def share_card() -> None:
    st.subheader(t("Share with others"))
    with st.container(border=True):
        job = latest()
        if job is not None and not job.over:
            st.fragment(_running, run_every=2)(job.id)
            return
        if job is not None and job.error is not None:
            show_error(job.error)
        _offer()


def latest() -> store.Job | None:
    return next((job for job in store.all_jobs() if job.operation == OPERATION), None)


def addresses(lines: list[str]) -> list[str]:
    """Where the page is, as its log of the last attempt says."""
    start = max((number for number, line in enumerate(lines) if line.startswith("--- attempt ")), default=0)
    found = []
    for line in lines[start:]:
        for sign in (ADDRESS, PUBLIC):
            _, _, told = line.partition(sign)
            found += [told.strip()] if told.strip().startswith("http") else []
    return found


def _running(job_id: str) -> None:
    job = store.read(job_id)
    if job.over:
        st.rerun()
    known = addresses(store.log_lines(job.id))
    with st.container(horizontal=True, vertical_alignment="center"):
        if known:
            st.badge(t("shared"), icon=":material/share:", color="green")
        else:
            st.badge(t("starting"), icon=":material/hourglass_top:", color="blue")
        for address in known:
            st.markdown(f"[{plain(address)}]({address})", width="content")
        st.page_link("views/jobs.py", label=t("Details"), icon=":material/checklist:", query_params={"job": job.id})
        if st.button(t("Stop sharing"), key="share.stop", icon=":material/stop_circle:", disabled=job.cancelling):
            with errors_shown():
                store.cancel(job.id)
    host = str(job.request.get("host", ""))
    if host == EVERYWHERE:
        st.caption(t("In your network, others reach it under this machine's own name or address, with the same port."))
    st.caption(t("Its API is linked at the foot of the page; its MCP server is at /gradio_api/mcp."))


def _offer() -> None:
    st.caption(
        t(
            "A page with chat and extraction for other people, which asks the model loaded here. "
            "It is off until you start it, and nobody outside this machine sees it unless you say so."
        )
    )
    reach = st.segmented_control(
        t("Who can reach it"),
        ["here", "network"],
        default="here",
        format_func=lambda one: t("This machine only") if one == "here" else t("Everybody in my network"),
        key="share.reach",
        required=True,
    )
    _password()
    host = EVERYWHERE if reach == "network" else "127.0.0.1"
    request = ShareRequest.model_validate({"host": host, **_settings()})
    try:
        needs_login(request)
    except UserError as error:
        st.info(plain(t(error.problem)), icon=":material/lock:")
        st.button(t("Start sharing"), key="share.start", icon=":material/share:", disabled=True)
        return
    if not is_loopback(request.host):
        st.warning(
            t("HTTP is not encrypted: share only in a network you trust, or put a proxy with TLS in front."),
            icon=":material/lock_open:",
        )
    if st.button(t("Start sharing"), key="share.start", icon=":material/share:"):
        with errors_shown():
            store.submit(request)
            st.rerun()


def _password() -> None:
    if share_password.is_set():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge(t("a password is set"), icon=":material/lock:", color="green")
            if st.button(t("Remove the password"), key="share.password.remove", type="tertiary"):
                share_password.forget()
                st.rerun()
        return
    with st.form("share.password.form", border=False, clear_on_submit=True):
        given = st.text_input(
            t("Password for visitors"),
            type="password",
            key="share.password",
            help=t("Only its hash is kept. Without one, the page opens only on this machine."),
            autocomplete="new-password",
        )
        if st.form_submit_button(t("Set the password"), icon=":material/lock:") and given:
            with errors_shown():
                share_password.keep(given)
                st.rerun()


def _settings() -> dict[str, int]:
    fields = ShareRequest.model_fields
    with st.expander(t("Port and limits"), icon=":material/tune:"):
        labels = {
            "port": t("Port"),
            "per_minute": t("Requests a minute, a visitor"),
            "per_visitor": t("At once, a visitor"),
            "characters": t("Longest text, in characters"),
        }
        bounds = {
            "port": (1024, 65_535),
            "per_minute": (0, 10_000),
            "per_visitor": (1, 64),
            "characters": (100, 200_000),
        }
        return {
            name: int(
                st.number_input(
                    labels[name], *bounds[name], fields[name].default, key=f"share.{name}",
                    help=t(fields[name].description or ""),
                )
            )
            for name in FORM
        }  # fmt: skip
