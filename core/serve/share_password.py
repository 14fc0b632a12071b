"""The one password of the shared page: scrypt's hash of it, in `share.json` of the workspace (mode 0600), or none.

People who should be told apart and shut out one by one get tokens instead (`serve tokens add NAME`).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import unicodedata
from pathlib import Path

from core import paths, settings
from core.errors import UserError

VARIABLE = "KNOWLM_SHARE_PASSWORD"
"""Comes before the file. Only whoever runs the app can read another process's environment."""
SHORTEST = 8
_COST, _BLOCK, _LANES = 2**14, 8, 1
"""OWASP's smallest for scrypt are these with five lanes; one lane takes 16 MB and some 50 ms a try."""


def keep(password: str) -> None:
    """Remember the password's hash. Raises UserError for a short one."""
    settings.write_private(_file(), {"password": hashed(password)})


def forget() -> None:
    _file().unlink(missing_ok=True)


def stored() -> str:
    """The hash to check against; empty where there is no password. Raises UserError."""
    given = os.environ.get(VARIABLE, "")
    if given:
        return hashed(given)
    try:
        return str(json.loads(_file().read_text(encoding="utf-8"))["password"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            "The password in {file} can't be read: {why}",
            remedy="Set it again: `python -m core share password`.",
            file=_file(),
            why=error,
        ) from error


def is_set() -> bool:
    """Whether there is a password; one that can't be read counts, so that the door stays shut."""
    return bool(os.environ.get(VARIABLE)) or _file().exists()


def hashed(password: str) -> str:
    if len(password) < SHORTEST:
        raise UserError("The password is too short.", remedy="Use at least {count} characters.", count=SHORTEST)
    salt = secrets.token_bytes(16)
    return "$".join(("scrypt", base64.b64encode(salt).decode(), base64.b64encode(_scrypt(password, salt)).decode()))


def matches(password: str, made: str) -> bool:
    """Whether this is the password of that hash; takes as long for a wrong one."""
    try:
        kind, salt, digest = made.split("$")
        known = base64.b64decode(digest)
        return kind == "scrypt" and hmac.compare_digest(_scrypt(password, base64.b64decode(salt)), known)
    except ValueError:
        return False


def _scrypt(password: str, salt: bytes) -> bytes:
    # one form: the same letters typed on another system may come composed differently
    plain = unicodedata.normalize("NFC", password).encode("utf-8", "replace")
    return hashlib.scrypt(plain, salt=salt, n=_COST, r=_BLOCK, p=_LANES, maxmem=64 << 20, dklen=32)


def _file() -> Path:
    return paths.workspace() / "share.json"
