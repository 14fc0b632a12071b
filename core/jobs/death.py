"""Why an attempt ended without a result: out of memory, a signal, an exit code, and what to do about it."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.jobs import files
from core.jobs.events import Seen, log_tail

LOW_MEMORY = 0.05
"""Share of all memory: a SIGKILL that comes when less than this was free is most likely the kernel's."""
FULL_DISK = 1_000_000


def oom_kills() -> int | None:
    """How often the kernel has killed for want of memory in this container, else on this machine; None if not told.

    cgroup v2 (this group's own, then the container's root), cgroup v1, /proc/vmstat.
    """
    group = _own_group()
    root = Path("/sys/fs/cgroup")
    for path in (
        root / group / "memory.events",
        root / "memory.events",
        root / "memory" / _own_group("memory") / "memory.oom_control",
        root / "memory" / "memory.oom_control",
        Path("/proc/vmstat"),
    ):
        try:
            counts = dict(line.split() for line in path.read_text().splitlines())
            return int(counts["oom_kill"])
        except (OSError, ValueError, KeyError):
            continue
    return None


def _own_group(controller: str = "") -> str:
    """This process's cgroup below the mount point; with no controller named, that of v2."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    rows = (line.split(":", 2) for line in lines)
    return next((row[2].lstrip("/") for row in rows if controller in row[1].split(",")), "")


def cause(folder: Path, started: dict[str, Any] | None, ended: dict[str, Any] | None, seen: Seen) -> UserError:
    """Why the attempt of this folder died, from what its worker wrote down; `ended` is None if it could not."""
    last = " ⏎ ".join(line for line in log_tail(folder / files.LOG, 6) if not line.startswith("---"))[-600:] or "–"
    if started is None:
        return UserError(
            "The job's process did not start.",
            remedy="Restart the job. The log ends with: {last}",
            last=last,
        )
    if _ran_out_of_memory(started, ended):
        return UserError(
            "The operating system killed this job because memory ran out.",
            remedy="Close other programs, unload the model, or choose a smaller model or smaller batches; then restart "
            "the job: what is finished is kept. The log ends with: {last}",
            last=last,
        )
    return _unseen(folder, started, last) if ended is None else _by_exit_code(int(ended["code"]), seen, last)


def _ran_out_of_memory(started: dict[str, Any], ended: dict[str, Any] | None) -> bool:
    before = started.get("oom_kills")
    after = ended.get("oom_kills") if ended else oom_kills()
    killed = ended is None or ended["code"] == -9
    return killed and before is not None and after is not None and after > before


def _unseen(folder: Path, started: dict[str, Any], last: str) -> UserError:
    import psutil

    if psutil.boot_time() > started["time"]:
        return UserError(
            "The computer was restarted while this job ran.",
            remedy="Restart the job: what is finished is kept. The log ends with: {last}",
            last=last,
        )
    if shutil.disk_usage(folder).free < FULL_DISK:
        return UserError(
            "This job ended when the disk was full.",
            remedy="Free some space, then restart the job: it goes on. The log ends with: {last}",
            last=last,
        )
    return UserError(
        "All processes of this job were killed from outside.",
        remedy="Restart the job: what is finished is kept. The log ends with: {last}",
        last=last,
    )


def _by_exit_code(code: int, seen: Seen, last: str) -> UserError:
    if code >= 0:
        return UserError(
            "This job ended with exit code {code} and without a result.",
            remedy="Restart the job: what is finished is kept. The log ends with: {last}",
            code=code,
            last=last,
        )
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    if name == "SIGKILL" and seen.memory_free is not None and seen.memory_free < LOW_MEMORY:
        return UserError(
            "This job was killed (SIGKILL) when {percent}% of the memory was free: most likely memory ran out.",
            remedy="Close other programs, unload the model, or choose a smaller model or smaller batches; then restart "
            "the job: what is finished is kept. The log ends with: {last}",
            percent=f"{seen.memory_free * 100:.0f}",
            last=last,
        )
    if name in ("SIGKILL", "SIGTERM", "SIGHUP", "SIGINT"):
        return UserError(
            "This job was ended from outside ({signal}).",
            remedy="Restart the job: what is finished is kept. The log ends with: {last}",
            signal=name,
            last=last,
        )
    return UserError(
        "This job crashed ({signal}).",
        remedy="Restart the job. If it crashes again, report it with the end of its log: {last}",
        signal=name,
        last=last,
    )
