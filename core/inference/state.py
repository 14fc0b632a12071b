"""What is loaded, read off the files of `paths.host()`; nobody stores a status.

    lock        held by the host for life
    starting    held by whoever starts or stops a host, so that of two starters one wins
    host.json   who serves what, where; without an address it is still loading
    token       what a client must show (both are readable by their owner only)
    end.json    why a host gave up; absent where it was killed
    host.log    what it and its libraries printed

No host.json: nothing is loaded. The lock free beside a host.json: it died.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from core import paths, resources
from core.errors import UserError

LOG_LINES = 1000
LOG_BYTES = 65_536
"""How much of the log's end is looked at: a crash writes the stacks of all threads."""


@dataclass(frozen=True)
class Record:
    """host.json."""

    pid: int
    start: str
    """A random word that tells this start from every other."""
    ref: str
    address: str = ""
    title: str = ""
    engine: str = ""
    why_engine: str = ""
    can: dict[str, Any] = field(default_factory=dict)
    context: int = 0
    parallel: int = 1
    facts: list[dict[str, Any]] = field(default_factory=list)
    """What came of the load and why, as `engine.Fact`s."""
    options: dict[str, Any] = field(default_factory=dict)
    """What the load asked for, where it asked for anything."""
    purpose: str = ""
    """What the load was for: `chat` or `batch`."""
    base: str = ""
    """The folder of the weights that further adapters can go on; "" where none can."""
    answers: list[str] = field(default_factory=list)
    """As whom it answers when asked by name: `ref`, the base and other adapters that joined it."""
    oom_kills: int = 0
    """The container's count of out-of-memory kills when it started."""


def lock_file() -> Path:
    return paths.host() / "lock"


def starting_lock() -> FileLock:
    return FileLock(paths.host() / "starting")


def log_file() -> Path:
    return paths.host() / "host.log"


def read() -> Record | None:
    try:
        return Record(**json.loads((paths.host() / "host.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # another version of the app wrote it
        return None


def write(record: Record) -> None:
    write_private(paths.host() / "host.json", json.dumps(asdict(record), ensure_ascii=False))


def token() -> str:
    try:
        return (paths.host() / "token").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def write_token(secret: str) -> None:
    write_private(paths.host() / "token", secret)


def write_end(error: UserError) -> None:
    write_private(paths.host() / "end.json", json.dumps(error.to_dict(), ensure_ascii=False))


def clear() -> None:
    """Forget the last host. Only while none runs."""
    for name in ("host.json", "token", "end.json"):
        (paths.host() / name).unlink(missing_ok=True)


def alive() -> bool:
    """Whether a host holds the lock."""
    file = lock_file()
    if not file.exists():
        return False
    if sys.platform == "win32":
        try:
            with FileLock(file, timeout=0):
                return False
        except Timeout:
            return True
    import fcntl

    with file.open("rb") as handle:
        try:  # shared, so that two who look at once don't take each other for the host
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def why_it_died(record: Record) -> UserError:
    """The reason a host left behind, or what can be told from its log and the container's counters."""
    try:
        return UserError.from_dict(json.loads((paths.host() / "end.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, KeyError):
        pass
    if oom_kills() > record.oom_kills:
        return UserError(
            "The model's process was killed because memory ran out.",
            remedy="Load a smaller or more quantized model, or close other programs first.",
        )
    crash = [line for line in log_tail() if line.startswith("Fatal Python error") or "GGML_ASSERT" in line]
    if crash:
        return UserError(
            "The model's process crashed: {why}",
            remedy="Load the model again; if it crashes again, choose another engine or another file.",
            why=crash[0],
        )
    return UserError(
        "The model's process was killed from outside.",
        remedy="Load the model again. If nobody stopped it, memory may have run out: choose a smaller model.",
    )


def log_tail(count: int = LOG_LINES) -> list[str]:
    """The last lines of the log."""
    try:
        with log_file().open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - LOG_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


def oom_kills() -> int:
    """How often the kernel killed a process of this container for memory (cgroup v2 or v1); 0 where it can't say."""
    for name in ("memory.events", "memory/memory.oom_control"):
        try:
            rows = dict(line.split() for line in (resources.CGROUP / name).read_text().splitlines())
            return int(rows["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return 0


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    temporary.replace(path)
