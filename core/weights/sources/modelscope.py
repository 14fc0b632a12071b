"""ModelScope, through its own API; it publishes the sha256 of every file."""

from __future__ import annotations

import os
from urllib.parse import urlencode

from core.errors import UserError
from core.weights import catalog
from core.weights.sources import Json, Listing, RemoteFile

TITLE = "ModelScope"


def endpoint() -> str:
    """`MODELSCOPE_DOMAIN` (a bare host name, as its own tools read it), else its public address."""
    domain = os.environ.get("MODELSCOPE_DOMAIN")
    return f"https://{domain}" if domain else catalog.endpoints()["modelscope"]


def token() -> str | None:
    return os.environ.get("MODELSCOPE_API_TOKEN") or None


def page(endpoint: str, repo: str) -> str:
    return f"{endpoint}/models/{repo}"


def listing(get: Json, endpoint: str, repo: str, revision: str) -> Listing:
    """`GET /api/v1/models/{repo}/repo/files`; its revisions are branches and tags, never commits."""
    query = urlencode({"Revision": revision or "master", "Recursive": "true"})
    answer = get(f"{endpoint}/api/v1/models/{repo}/repo/files?{query}")
    if not answer.get("Success", answer.get("Code") == 200):
        raise UserError(
            "ModelScope refuses to list {repo}: {why}",
            remedy="Check the repository's name and revision on {page}.",
            repo=repo,
            why=answer.get("Message") or answer.get("Code"),
            page=page(endpoint, repo),
        )
    rows = (answer.get("Data") or {}).get("Files") or ()
    files = (
        RemoteFile(row["Path"], row.get("Size"), row.get("Sha256") or None) for row in rows if row.get("Type") != "tree"
    )
    return Listing(revision=revision or "master", files=tuple(files))


def url(endpoint: str, repo: str, revision: str, name: str) -> str:
    return f"{endpoint}/api/v1/models/{repo}/repo?{urlencode({'Revision': revision, 'FilePath': name})}"
