"""A mirror of the Hugging Face hub: the same repositories and paths at another address.

It belongs to somebody else, so the person's token is never sent to it: gated repositories come from
the hub itself.
"""

from __future__ import annotations

import os

from core.weights import catalog
from core.weights.sources.hub import listing, page, url

__all__ = ["TITLE", "endpoint", "listing", "page", "token", "url"]

TITLE = "the mirror of Hugging Face"


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT") or catalog.endpoints()["mirror"]


def token() -> str | None:
    return None
