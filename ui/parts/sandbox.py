"""HTML that is not ours to trust (a pyvis picture) in a frame of its own: it runs its scripts and reaches nothing.

The pages' policy forbids inline scripts, in a frame's `srcdoc` as well; so the document is served
under its own address with its own policy: no network, no origin, no access to the app around it.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

import streamlit as st
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'"
)
KEPT = 12

_documents: OrderedDict[str, str] = OrderedDict()


def sandboxed(html: str, *, height: int) -> None:
    """Draw a self-contained HTML document in a frame that is `height` pixels high."""
    name = hashlib.sha256(html.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    _documents[name] = html
    _documents.move_to_end(name)
    while len(_documents) > KEPT:
        _documents.popitem(last=False)
    st.iframe(f"/documents/{name}", height=height)


async def _document(request: Request) -> Response:
    html = _documents.get(request.path_params["name"])
    if html is None:
        return Response("This picture is no longer kept; reload the page.", 404, media_type="text/plain")
    return HTMLResponse(html, headers={"content-security-policy": POLICY, "cache-control": "no-store"})


route = Route("/documents/{name}", _document)
