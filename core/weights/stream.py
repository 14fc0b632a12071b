"""Writing a plan: blocks of tensors through two threads, shard by shard, never half under a final name.

While it runs, everything is in `OUT/.studio-work`: a lock, a journal, shards. A shard counts as
finished once it and its name are on the disk and its hash is in the journal; the next start
hashes it again and does not redo it. Only when all are finished do they get their final names,
the index last. Killed at any moment, the next start ends with the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from time import monotonic
from typing import IO

import numpy as np
from filelock import FileLock, Timeout
from threadpoolctl import threadpool_limits

from core.errors import UserError
from core.models import CARD
from core.operation import Progress
from core.weights import durable, hashes
from core.weights.dtypes import FLOATS, ITEM_BYTES, Bytes, bytes_of, narrow, widen
from core.weights.plan import Plan, Planned, Shard, content
from core.weights.tensors import Stored
from core.weights.views import View

WORK = ".studio-work"
MANIFEST = "studio-manifest.json"
INDEX = "model.safetensors.index.json"
THREADS = 2
_BLOCK = 1 << 20
"""Elements a task of a thread."""
_PIECE = 1 << 17
"""Elements computed at once: small enough to stay in a core's cache."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Written:
    files: dict[str, str]
    """Shard -> sha256."""
    element_sum: float
    """fp64 sum, tensor by tensor in the order of the shards, of the values as fp32 before they were rounded."""
    unequal: int
    """Elements of a delta that adding would not bring back; 0 for other operations."""
    reused: int
    """Shards that an earlier run had finished."""
    seconds: float


def write(plan: Plan, out: Path, progress: Progress) -> Written:
    """Carry the plan out in folder `out`. Raises UserError; then nothing has a final name that is not whole."""
    started = monotonic()
    work = out / WORK
    try:
        with disk_may_fill(out), locked(work):
            shards, reused = _write_all(plan, out, work, progress)
            manifest = _manifest(plan, shards)
            _publish(plan, out, work, manifest)
            shutil.rmtree(work)
    finally:
        if out.is_dir() and not any(out.iterdir()):
            out.rmdir()
    return Written(
        files={shard["shard"]: shard["sha256"] for shard in shards},
        element_sum=manifest["element_sum"],
        unequal=manifest["unequal_elements"],
        reused=reused,
        seconds=monotonic() - started,
    )


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """The two threads. BLAS starts none of its own: they would wait for each other, spinning."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(THREADS) as pool:
        yield pool


@contextmanager
def disk_may_fill(out: Path) -> Iterator[None]:
    """Say it as a person should read it."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise UserError(
            "The disk of {out} is full.",
            remedy="Free some space and start again: finished files are kept and not redone.",
            out=out,
        ) from error


@contextmanager
def locked(work: Path) -> Iterator[None]:
    """Make the folder and hold it alone; it goes at the end if nothing is left in it. A kill frees it."""
    while True:
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise UserError(
                "Another run is writing into {out}.", remedy="Wait for it, or choose another place.", out=work.parent
            ) from error
        if (work / "lock").exists():  # else the run before removed it between our opening and our locking
            break
        lock.release()
    try:
        yield
    finally:
        lock.release()
        if not any(path.name != "lock" for path in work.glob("*")):
            shutil.rmtree(work, ignore_errors=True)


# --- what is finished already -------------------------------------------------------------------


def _write_all(plan: Plan, out: Path, work: Path, progress: Progress) -> tuple[list[dict], int]:
    journal = work / "journal.jsonl"
    fingerprint = plan.fingerprint
    finished = _finished(plan, out, work, fingerprint, progress)
    for path in work.iterdir():
        if path.name not in ("lock", *finished):
            path.unlink()
    # also when a run is resumed: the journal then names only what was found whole
    _append(journal, {"fingerprint": fingerprint}, *finished.values())
    records = dict(finished)
    done = sum(shard.bytes for shard in plan.shards if shard.name in finished)
    try:
        with workers() as pool:
            for shard in plan.shards:
                if shard.name not in records:
                    records[shard.name] = _write_shard(shard, work, pool, Meter(progress, done, plan.bytes))
                    _append(journal, records[shard.name])
                    done += shard.bytes
    except UserError:  # the inputs are wrong: nothing made from them is worth keeping
        for path in work.iterdir():
            if path.name != "lock":
                path.unlink()
        raise
    return [records[shard.name] for shard in plan.shards], len(finished)


def _finished(plan: Plan, out: Path, work: Path, fingerprint: str, progress: Progress) -> dict[str, dict]:
    """Records of the shards that are whole, in the work folder or under their final name, hashed again."""
    records = _journal(work / "journal.jsonl", fingerprint)
    if records is None:
        records = _made_before(out / MANIFEST, fingerprint)
    if records is None:
        _refuse_occupied(plan, out)
        return {}
    found = {}
    for shard in plan.shards:
        record = records.get(shard.name)
        path = next((place for place in (out / shard.name, work / shard.name) if place.exists()), None)
        if record is None or path is None:
            continue
        progress.log(f"checking {shard.name}, finished before")
        if path.stat().st_size == record["size"] and hashes.digest(path) == record["sha256"]:
            found[shard.name] = record
        else:
            progress.log(f"{shard.name} has changed since and is made again")
            path.unlink()
    return found


def _journal(path: Path, fingerprint: str) -> dict[str, dict] | None:
    """The records of an interrupted run of the same plan; None if there was none. A torn last line is no record."""
    lines = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            lines.append(json.loads(line))
    except FileNotFoundError:
        return None
    except ValueError:
        pass
    if not lines or lines[0].get("fingerprint") != fingerprint:
        return None
    return {record["shard"]: record for record in lines[1:] if "shard" in record}


def _made_before(manifest: Path, fingerprint: str) -> dict[str, dict] | None:
    try:
        made = json.loads(manifest.read_text(encoding="utf-8"))
        if made["fingerprint"] != fingerprint:
            return None
        return {record["shard"]: record for record in made["shards"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refuse_occupied(plan: Plan, out: Path) -> None:
    ours = {shard.name for shard in plan.shards} | {INDEX, MANIFEST, CARD} | set(plan.small_files)
    for path in sorted(out.iterdir()):
        if path.name in ours or path.suffix in (".safetensors", ".bin", ".pth"):
            raise UserError(
                "{out} already holds {name}, made from something else.",
                remedy="Choose an empty folder, or remove that model first.",
                out=out,
                name=path.name,
            )


def _append(journal: Path, *records: dict) -> None:
    with journal.open("a", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())
    durable.sync_folder(journal.parent)


# --- one shard ----------------------------------------------------------------------------------


class Meter:
    """Bytes written of the whole run, and how many a second."""

    def __init__(self, progress: Progress, done: int, total: int) -> None:
        self.progress, self.done, self.total = progress, done, total
        self._started, self._at_start = monotonic(), done

    def add(self, count: int) -> None:
        self.done += count
        self.progress.step(round(self.done / 1e6, 1), round(self.total / 1e6, 1), "MB")
        elapsed = monotonic() - self._started
        if elapsed > 0.5:
            self.progress.metric(megabytes_per_second=(self.done - self._at_start) / 1e6 / elapsed)


@dataclass(frozen=True)
class Made:
    data: Bytes
    total: float
    unequal: int


def _write_shard(shard: Shard, work: Path, pool: ThreadPoolExecutor, meter: Meter) -> dict:
    """Write one shard into the work folder, durably; its record for the journal."""
    part = work / (shard.name + ".part")
    whole = hashlib.sha256()
    tensors: dict[str, dict] = {}
    try:
        with part.open("wb", buffering=0) as file:
            put(file, np.frombuffer(shard.header, np.uint8), whole)
            for planned, blocks in computed(shard.tensors, pool):
                tensors[planned.name] = _put_tensor(file, planned, blocks, whole, meter)
            os.fsync(file.fileno())
        part.replace(work / shard.name)
        durable.sync_folder(work)
    finally:
        part.unlink(missing_ok=True)
    size = len(shard.header) + shard.bytes
    return {"shard": shard.name, "size": size, "sha256": whole.hexdigest(), "tensors": tensors}


def _put_tensor(file: IO[bytes], planned: Planned, blocks: Iterator[Made], whole: hashlib._Hash, meter: Meter) -> dict:
    own, total, unequal = hashlib.sha256(), 0.0, 0
    for made in blocks:
        put(file, made.data, whole, own)
        total += made.total
        unequal += made.unequal
        meter.add(made.data.size)
    record = {"dtype": planned.dtype, "shape": planned.view.shape, "sha256": own.hexdigest(), "sum": total}
    return record | ({"unequal": unequal} if planned.replays else {})


def put(file: IO[bytes], data: Bytes, *digests: hashlib._Hash) -> None:
    view = memoryview(data)  # type: ignore[arg-type]
    for digest in digests:
        digest.update(view)
    place = file.tell()
    while view.nbytes:
        view = view[file.write(view) :]
    if hasattr(os, "posix_fadvise"):  # starts writing to the disk now, so that fsync has little left to do
        os.posix_fadvise(file.fileno(), place, data.size, os.POSIX_FADV_DONTNEED)


def computed(tensors: Sequence[Planned], pool: ThreadPoolExecutor) -> Iterator[tuple[Planned, Iterator[Made]]]:
    """Each tensor with its blocks, computed a few blocks ahead, also over the ends of tensors."""
    tasks = ((planned, start, stop) for planned in tensors for start, stop in _blocks(planned))
    ahead: deque[Future[Made]] = deque()

    def next_block() -> Made:
        while len(ahead) < 2 * THREADS and (task := next(tasks, None)) is not None:
            planned, start, stop = task
            for blob, offset, length in planned.view.extents(start, stop):
                blob.ahead(offset, length)
            ahead.append(pool.submit(_make, planned, start, stop))
        return ahead.popleft().result()

    try:
        for planned in tensors:
            yield planned, (next_block() for _ in _blocks(planned))
    finally:
        for future in ahead:
            future.cancel()


def _blocks(planned: Planned) -> list[tuple[int, int]]:
    size, grain = prod(planned.view.shape), planned.view.grain
    step = max(grain, _BLOCK // grain * grain)
    return [(start, min(start + step, size)) for start in range(0, size, step)]


def _make(planned: Planned, start: int, stop: int) -> Made:
    view = planned.view
    data = np.empty(bytes_of(planned.dtype, stop - start), np.uint8)
    total, unequal = 0.0, 0
    step = max(view.grain, _PIECE // view.grain * view.grain)
    with np.errstate(over="ignore", invalid="ignore"):
        for begin in range(start, stop, step):
            end = min(begin + step, stop)
            piece = data[bytes_of(planned.dtype, begin - start) : bytes_of(planned.dtype, end - start)]
            total += _fill(planned, begin, end, piece)
            if planned.replays:
                unequal += _unequal(planned, begin, piece)
    for blob, offset, length in view.extents(start, stop):
        blob.spent(offset, length)
    return Made(data, total, unequal)


def _fill(planned: Planned, begin: int, end: int, out: Bytes) -> float:
    """Write one piece; the sum of its values. Raises UserError for NaN and infinities."""
    view = planned.view
    copied = isinstance(view, Stored) and view.dtype == planned.dtype
    if copied:
        view.fill_raw(begin, out)  # type: ignore[attr-defined]
        if planned.dtype not in FLOATS:
            return 0.0
    values = np.empty(end - begin, np.float32)
    if copied:
        widen(out, planned.dtype, values)
    else:
        view.fill(begin, values)
    total = float(np.add.reduce(values, dtype=np.float64))
    if not np.isfinite(total):  # fp32 values can't overflow an fp64 sum, so one of them is not a number
        raise UserError(
            "{name} holds NaN or infinite values (from {origin}).",
            remedy="Nothing was written. Check the inputs: one is damaged, or they do not belong together.",
            name=planned.name,
            origin=view.origin,
        )
    if not copied and not narrow(values, planned.dtype, out):
        raise UserError(
            "A value of {name} is too large for {dtype}.",
            remedy="Choose bfloat16 or float32 for the output.",
            name=planned.name,
            dtype=planned.dtype,
        )
    return total


def _unequal(planned: Planned, begin: int, delta: Bytes) -> int:
    """How many elements base + delta would not give back as they are in the tuned model."""
    base, tuned = planned.replays  # type: ignore[misc]
    count = delta.size // ITEM_BYTES[planned.dtype]
    again, added = _floats(base, begin, count), np.empty(count, np.float32)
    widen(delta, planned.dtype, added)
    again += added
    rounded, back = np.empty(count * ITEM_BYTES[tuned.dtype], np.uint8), np.empty(count, np.float32)
    narrow(again, tuned.dtype, rounded)
    widen(rounded, tuned.dtype, back)
    return int(np.count_nonzero(back != _floats(tuned, begin, count)))


def _floats(view: View, begin: int, count: int) -> np.ndarray:
    values = np.empty(count, np.float32)
    view.fill(begin, values)
    return values


# --- the end ------------------------------------------------------------------------------------


def _manifest(plan: Plan, shards: list[dict]) -> dict:
    tensors = [tensor for shard in shards for tensor in shard["tensors"].values()]
    return {
        "format": 1,
        "operation": plan.operation,
        "fingerprint": plan.fingerprint,
        "settings": dict(plan.settings),
        "element_sum": sum(tensor["sum"] for tensor in tensors),
        "unequal_elements": sum(tensor.get("unequal", 0) for tensor in tensors),
        "files": {shard["shard"]: shard["sha256"] for shard in shards},
        "small_files": {
            name: hashlib.sha256(data).hexdigest()
            for name, data in [*((name, content(source)) for name, source in plan.small_files.items()), *_index(plan)]
        },
        "shards": shards,
    }


def _index(plan: Plan) -> list[tuple[str, bytes]]:
    """The index's name and bytes; none where one file holds all."""
    if len(plan.shards) == 1:
        return []
    weight_map = {planned.name: shard.name for shard in plan.shards for planned in shard.tensors}
    return [(INDEX, json.dumps({"metadata": {"total_size": plan.bytes}, "weight_map": weight_map}, indent=2).encode())]


def _publish(plan: Plan, out: Path, work: Path, manifest: dict) -> None:
    for name, source in plan.small_files.items():
        _put_file(out, work, name, content(source))
    _put_file(out, work, MANIFEST, json.dumps(manifest, indent=1).encode())
    card = plan.card.model_copy(update={"files": manifest["files"]})
    _put_file(out, work, CARD, json.dumps(card.model_dump(mode="json"), ensure_ascii=False, indent=2).encode())
    for shard in plan.shards:
        if (work / shard.name).exists():
            (work / shard.name).replace(out / shard.name)
    durable.sync_folder(out)
    for name, data in _index(plan):  # last: a folder with an index is a whole model
        _put_file(out, work, name, data)


def _put_file(out: Path, work: Path, name: str, data: bytes) -> None:
    temporary = work / (name + ".part")
    temporary.write_bytes(data)
    durable.publish(temporary, out / name)
