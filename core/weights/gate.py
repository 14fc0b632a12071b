"""What a hub's refusal means to a person, and the page to visit about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import UserError
from core.weights.sources import Source
from core.weights.web import Interrupted, Refused, Web


@contextmanager
def explained(source: Source, endpoint: str, repo: str, web: Web) -> Iterator[None]:
    """Refused and Interrupted become UserErrors."""
    page = source.page(endpoint, repo)
    try:
        yield
    except Refused as refusal:
        raise _explain(refusal, source.TITLE, page, repo, web.has_token) from refusal
    except Interrupted as interruption:
        raise UserError(
            "{source} can't be reached: {why}",
            remedy="Check the network, or choose another source or endpoint.",
            source=source.TITLE,
            why=interruption,
        ) from interruption


def _explain(refusal: Refused, title: str, page: str, repo: str, has_token: bool) -> UserError:
    values = {"repo": repo, "source": title, "page": page}
    if refusal.code == "GatedRepo" or (refusal.status == 403 and not refusal.code):
        return UserError(
            "{repo} is gated: its owner wants to know who downloads it.",
            remedy="Open {page}, sign in and accept its terms; then give that account's token as HF_TOKEN.",
            **values,
        )
    if refusal.status in (401, 403) and not has_token:
        return UserError(
            "{source} shows {repo} to nobody who is not signed in, or has no such repository.",
            remedy="Check the name on {page}; if it is there, sign in, accept its terms and give a token as HF_TOKEN.",
            **values,
        )
    if refusal.status in (401, 403):
        return UserError(
            "{source} does not accept the token for {repo}.",
            remedy="See on {page} whether that account may download it, and whether the token is still valid.",
            **values,
        )
    if refusal.status == 404:
        return UserError(
            "{source} has no such repository, revision or file: {repo}",
            remedy="Check the names on {page}.",
            **values,
        )
    return UserError(
        "{source} refuses {repo} with HTTP {status}.",
        remedy="Try again later, or choose another source.",
        status=refusal.status,
        **values,
    )
