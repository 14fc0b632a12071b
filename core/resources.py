"""What this machine has free, inside its container's limit, and what a request lacks."""

from __future__ import annotations

import math
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

from core import paths
from core.errors import UserError
from core.operation import Needs

CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Card:
    """One GPU: bytes."""

    name: str
    total: int
    free: int


@dataclass(frozen=True)
class Machine:
    """Bytes, except `cores`."""

    ram_total: int
    ram_free: int
    disk_total: int
    disk_free: int
    cores: int
    gpus: tuple[Card, ...]


def machine() -> Machine:
    """What the machine has now; RAM within the cgroup's limit, disk where the workspace is."""
    total, free = ram()
    disk = shutil.disk_usage(paths.workspace())
    return Machine(total, free, disk.total, disk.free, cores(), gpus())


def ram() -> tuple[int, int]:
    """(total, available) bytes, the smaller of the machine's and the container's (cgroup v2 or v1)."""
    memory = psutil.virtual_memory()
    limit, used = _cgroup()
    if limit is None or limit >= memory.total:
        return memory.total, memory.available
    return limit, max(0, min(memory.available, limit - used))


def cores() -> int:
    """Processors this process may use: its affinity, within the container's share (cgroup v2 or v1), at least 1."""
    process = psutil.Process()
    mine = len(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else psutil.cpu_count() or 1
    return max(1, min(mine, math.ceil(_cpu_share() or mine)))


def gpus() -> tuple[Card, ...]:
    """NVIDIA cards as nvidia-smi tells; none where it is missing or fails. Imports no torch."""
    if shutil.which("nvidia-smi") is None:
        return ()
    query = ["nvidia-smi", "--query-gpu=name,memory.total,memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=5, check=True).stdout
    except (subprocess.SubprocessError, OSError):
        return ()
    rows = [line.rsplit(",", 2) for line in answer.splitlines() if line.strip()]
    return tuple(Card(name.strip(), int(total) << 20, int(free) << 20) for name, total, free in rows)


def disk_free(place: Path | None = None) -> int:
    """Free bytes on the disk where `place` is or will be made; without one, where the workspace is."""
    return shutil.disk_usage(_existing(place or paths.workspace())).free


def shortages(needs: Needs) -> list[UserError]:
    """What does not fit, each with the numbers; empty where all is well or not known."""
    found = []
    if needs.ram is not None and needs.ram > (free := ram()[1]):
        found.append(
            UserError(
                "This needs {needed} of memory; {free} are free.",
                remedy="Close other programs, unload the model, or choose a smaller or more quantized model.",
                needed=size(needs.ram),
                free=size(free),
            )
        )
    if needs.disk is not None:
        place = _existing(needs.disk_at or paths.workspace())
        if needs.disk > (free := disk_free(place)):
            found.append(
                UserError(
                    "This needs {needed} on the disk of {place}; {free} are free.",
                    remedy="Free some space there, or choose a folder on another disk.",
                    needed=size(needs.disk),
                    place=place,
                    free=size(free),
                )
            )
    if needs.vram is not None and needs.vram > (free := max((card.free for card in gpus()), default=0)):
        found.append(
            UserError(
                "This needs {needed} of GPU memory; {free} are free.",
                remedy="Free the GPU, run on the CPU, or choose a smaller or more quantized model.",
                needed=size(needs.vram),
                free=size(free),
            )
        )
    return found


def describe(needs: Needs) -> list[str]:
    """The known needs, one a line."""
    lines = [
        f"{label}: {size(amount)}"
        for label, amount in (("memory", needs.ram), ("GPU memory", needs.vram), ("disk", needs.disk))
        if amount is not None
    ]
    return [*lines, *([f"time: about {needs.seconds:.0f} s"] if needs.seconds is not None else [])]


def size(count: float) -> str:
    """Bytes as a person reads them, decimal units as disks and downloads are sold: 92.9 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(count) < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _existing(path: Path) -> Path:
    """The nearest folder above that exists: where a folder to be made will stand."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _cgroup() -> tuple[int | None, int]:
    """(limit or None, used) bytes of this process's container; page cache that can be dropped is not used."""
    pairs = (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    )
    for limit_file, used_file, stat_file, cache_name in pairs:
        try:
            limit = (CGROUP / limit_file).read_text().strip()
            used = int((CGROUP / used_file).read_text())
            stat = dict(line.split() for line in (CGROUP / stat_file).read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit == "max":
            return None, 0
        return int(limit), max(0, used - int(stat.get(cache_name, 0)))
    return None, 0


def _cpu_share() -> float | None:
    """Processors that the container's time quota is worth; None without one."""
    for quota_file, period_file in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = (CGROUP / quota_file).read_text().split()
            period = float((CGROUP / period_file).read_text()) if period_file else float(words[1])
            if words[0] not in ("max", "-1"):
                return float(words[0]) / period
        except (OSError, ValueError, IndexError):
            continue
    return None
