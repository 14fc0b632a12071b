"""What a person chose: one small file of the workspace (mode 0600). It names secrets' variables, never secrets.

A server's key that a person gives to the app itself lies in a file of its own, `keys.json` (0600), under its address.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urldefrag, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core import models, paths
from core.errors import UserError


class Endpoint(BaseModel):
    """An OpenAI-compatible server that the person added, or several of the same model (`url`: commas between)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1, max_length=80)
    url: str
    model: str = ""
    key_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")
    at_once: int = Field(default=0, ge=0, le=10_000, description="requests under way at once; 0: no limit")
    per_second: float = Field(default=0, ge=0, le=10_000, description="requests begun a second; 0: no limit")

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        each = models.addresses(url)
        for address in each or ("",):
            parts = urlsplit(address)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
                raise ValueError("not an http:// or https:// address")
        return ",".join(each)

    @property
    def ref(self) -> str:
        """The model reference that `core.models.resolve` takes."""
        return f"{self.url}#{self.model}" if self.model else self.url


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    language: Literal["auto", "en", "zh"] = "auto"
    default_model: str = "starter"
    endpoints: tuple[Endpoint, ...] = ()
    local_models: tuple[str, ...] = Field(default=(), description="paths of models outside the workspace")
    offline: bool = Field(default=False, description="nothing is downloaded; only loopback addresses are called")
    hosts: tuple[str, ...] = Field(default=(), description="further host names the app answers to")


def read() -> Settings:
    """The settings of the workspace; the defaults where there is no file yet. Raises UserError."""
    file = paths.settings_file()
    try:
        stat = file.stat()
    except FileNotFoundError:
        return Settings()
    return _parsed(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _parsed(file: Path, _changed: int, _size: int) -> Settings:
    try:
        return Settings.model_validate_json(file.read_text(encoding="utf-8"))
    except (ValidationError, ValueError, OSError) as error:
        raise UserError(
            "The settings file {file} can't be read: {why}",
            remedy="Correct it, or delete it to start from the defaults.",
            file=file,
            why=str(error).splitlines()[0],
        ) from error


def write(settings: Settings) -> None:
    """Replace the file at once; readable by its owner alone."""
    write_private(paths.settings_file(), settings.model_dump(mode="json"))


def endpoint(ref: str) -> Endpoint | None:
    """The endpoint that a model reference names; None where a person typed an address of their own."""
    return next((one for one in read().endpoints if one.ref == ref), None)


def api_key(url: str) -> str | None:
    """The key for a server's address: from the variable that the person named, else the one given to the app."""
    address = urldefrag(url).url.rstrip("/")
    kept = _keys()
    for one in read().endpoints:
        if address in (one.url, *models.addresses(one.url)):
            key = (one.key_env and os.environ.get(one.key_env)) or kept.get(one.url)
            if key:
                return key
    return None


def keep_key(url: str, key: str) -> None:
    """Keep a key for an endpoint's address; an empty one forgets it."""
    others = {address: own for address, own in _keys().items() if address != url}
    if key.strip() or len(others) < len(_keys()):
        write_private(_keys_file(), others | ({url: key.strip()} if key.strip() else {}))


def _keys_file() -> Path:
    return paths.settings_file().with_name("keys.json")


def _keys() -> dict[str, str]:
    """Raises UserError where the file is there and can't be read."""
    try:
        kept = json.loads(_keys_file().read_text(encoding="utf-8"))
        return {str(address): str(key) for address, key in kept.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            "The file {file} with the keys of servers can't be read.",
            remedy="Delete it, and give the keys again in Settings.",
            file=_keys_file(),
        ) from error


def write_private(file: Path, content: Any) -> None:
    """JSON into a file that only its owner can read (0600), whole or not at all."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    text = json.dumps(content, ensure_ascii=False, indent=2)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)
