"""What a person chose: one small file of the workspace (mode 0600). It names secrets' variables, never secrets."""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urldefrag, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from core import paths
from core.errors import UserError


class Endpoint(BaseModel):
    """An OpenAI-compatible server that the person added."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = Field(min_length=1, max_length=80)
    url: str
    model: str = ""
    key_env: str = Field(default="", pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$")

    @field_validator("url")
    @classmethod
    def _http(cls, url: str) -> str:
        parts = urlsplit(url.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("not an http:// or https:// address")
        return url.strip().rstrip("/")

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
    file = paths.settings_file()
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    text = json.dumps(settings.model_dump(mode="json"), ensure_ascii=False, indent=2)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(file)


def api_key(url: str) -> str | None:
    """The key for an endpoint's address, from the environment variable that the person named; None without one."""
    address = urldefrag(url).url.rstrip("/")
    for endpoint in read().endpoints:
        if endpoint.url == address and endpoint.key_env:
            return os.environ.get(endpoint.key_env) or None
    return None
