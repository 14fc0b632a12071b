"""Commands on other machines through ssh, which must let us in without asking anything."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

from core.errors import UserError

OPTIONS = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=5")
LIMIT = 60.0
"""Seconds for anything but the training itself."""


def command(host: str, line: str) -> tuple[str, ...]:
    """The argv that runs a shell's line on a host."""
    return ("ssh", *OPTIONS, "--", host, line)


def run(host: str, line: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Raises UserError where ssh is missing or takes longer than LIMIT; a command's own failure is the caller's."""
    try:
        return subprocess.run(
            command(host, line),
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT,
            check=False,
        )
    except FileNotFoundError as error:
        raise UserError(
            "There is no ssh on this machine, which starts the training on the others.",
            remedy="Install OpenSSH's client, or run the commands that --dry-run prints on each machine yourself.",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise UserError(
            "{host} did not answer within {seconds} s.",
            remedy="Try `ssh {host}` in a terminal, and take the machine out of the hostfile if it is down.",
            host=host,
            seconds=int(LIMIT),
        ) from error


def quietly(host: str, line: str) -> None:
    """For tidying up: whatever comes of it."""
    try:
        run(host, line)
    except UserError:
        return


def write(host: str, file: Path, text: str) -> None:
    """Put a file on a host, making its folder."""
    folder, name = shlex.quote(str(file.parent)), shlex.quote(str(file))
    done = run(host, f"mkdir -p {folder} && cat > {name}", text)
    if done.returncode:
        raise UserError(
            "{file} can't be written on {host}: {why}",
            remedy="Choose a folder that can be written under the same path on every machine.",
            file=file,
            host=host,
            why=last_line(done.stderr),
        )


def last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "–")[:300]
