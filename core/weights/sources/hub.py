"""The Hugging Face hub, or what `HF_ENDPOINT` names in its stead."""

from __future__ import annotations

import os
from urllib.parse import quote

from core.weights.sources import Json, Listing, RemoteFile

TITLE = "Hugging Face"


def endpoint() -> str:
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT") or constants.ENDPOINT


def token() -> str | None:
    """`HF_TOKEN`, else the one that `hf auth login` saved."""
    from huggingface_hub import get_token

    return get_token()


def page(endpoint: str, repo: str) -> str:
    return f"{endpoint}/{repo}"


def listing(get: Json, endpoint: str, repo: str, revision: str) -> Listing:
    """With `?blobs=true` the hub tells sizes, the sha256 of large files and git's sha1 of small ones."""
    found = get(f"{endpoint}/api/models/{repo}/revision/{quote(revision or 'main', safe='')}?blobs=true")
    about = found.get("cardData") or {}
    languages = about.get("language") or []
    return Listing(
        revision=found.get("sha") or revision or "main",
        files=tuple(_file(row) for row in found.get("siblings") or ()),
        license=str(about.get("license") or ""),
        languages=tuple(languages if isinstance(languages, list) else [languages]),
    )


def url(endpoint: str, repo: str, revision: str, name: str) -> str:
    return f"{endpoint}/{repo}/resolve/{quote(revision, safe='')}/{quote(name)}"


def _file(row: dict) -> RemoteFile:
    large = row.get("lfs")
    if large:
        return RemoteFile(row["rfilename"], large.get("size", row.get("size")), sha256=large.get("sha256"))
    return RemoteFile(row["rfilename"], row.get("size"), git_sha1=row.get("blobId"))
