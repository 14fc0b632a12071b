"""A file on its way: `NAME.part`, and beside it `NAME.part.json` with what makes it safe to go on from.

The bytes are hashed while they come, in a thread of their own, and the whole is hashed again when
another process goes on with it. Every `SYNC_SECONDS` the part is made durable and the hash of
what is durable noted: after a power cut the part is cut back to there, after a mere kill it is not.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from core.weights import durable
from core.weights.sources import RemoteFile
from core.weights.web import Stopped

SUFFIX = ".part"
NOTES = ".part.json"
SYNC_SECONDS = 10.0
PUSH_EVERY = 16 << 20
_BLOCK = 1 << 20
_CLOCK_SLACK = 90.0
"""Seconds by which the reckoned time of boot may wander between readings."""
_BINARY = getattr(os, "O_BINARY", 0)
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


@dataclass(frozen=True)
class Notes:
    """What is known of the part: which file it is of, and how much of it is durable."""

    size: int | None
    identity: str | None
    etag: str | None
    synced: int = 0
    synced_sha256: str = ""
    booted: float = 0.0


class Part:
    """Open, append, finish. Not shared between threads, its hashing apart."""

    def __init__(self, target: Path, file: RemoteFile, stop: threading.Event) -> None:
        self.path = target.with_name(target.name + SUFFIX)
        self._notes_path = target.with_name(target.name + NOTES)
        self._target = target
        self._file = file
        self._stop = stop
        self.path.parent.mkdir(parents=True, exist_ok=True)
        notes = self._read_notes()
        self._output = os.fdopen(
            os.open(self.path, os.O_RDWR | os.O_CREAT | _BINARY | _NO_FOLLOW, 0o644), "r+b", buffering=0
        )
        self.offset = self._reusable(notes)
        self.etag = notes.etag if notes and self.offset else None
        self._output.truncate(self.offset)
        self._output.seek(self.offset)
        self._synced_at = time.monotonic()
        self._failure: OSError | None = None
        self._start_hashing()

    @property
    def identity(self) -> str | None:
        return self._file.sha256 or self._file.git_sha1

    def begin(self, etag: str | None) -> None:
        """Note which version of the file the bytes to come are of."""
        self.etag = etag
        self._write_notes(0, "")

    def restart(self) -> None:
        """Forget all bytes."""
        self._stop_hashing()
        self._output.seek(0)
        self._output.truncate(0)
        self.offset = 0
        self.etag = None
        self._hash = hashlib.sha256()
        self._start_hashing()

    def append(self, block: bytes) -> None:
        """Raises OSError, where the disk is full for one."""
        if self._failure:
            raise self._failure
        view = memoryview(block)
        while view:
            view = view[self._output.write(view) :]
        self._queue.put(block)
        self.offset += len(block)
        if time.monotonic() - self._synced_at >= SYNC_SECONDS:
            self._synced_at = time.monotonic()
            self._queue.put(self.offset)

    def finish(self) -> str:
        """The sha256 of all bytes."""
        self._stop_hashing()
        if self._failure:
            raise self._failure
        return self._hash.hexdigest()

    def publish(self) -> None:
        """Give the part its final name; `finish` was called and liked."""
        self._output.close()
        durable.publish(self.path, self._target)
        self._notes_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Keep what there is for another time."""
        self._stop_hashing()
        self._output.close()

    def _reusable(self, notes: Notes | None) -> int:
        """How many bytes to go on from, hashed into `_hash` on the way; 0 where nothing can be trusted."""
        self._hash = hashlib.sha256()
        length = os.fstat(self._output.fileno()).st_size
        if notes is None or length < notes.synced or not self._is_of(notes):
            return 0
        self._take_in(notes.synced)
        if notes.synced and self._hash.hexdigest() != notes.synced_sha256:
            self._hash = hashlib.sha256()
            return 0
        rebooted = abs(psutil.boot_time() - notes.booted) > _CLOCK_SLACK
        kept = notes.synced if rebooted else max(notes.synced, min(length, self._file.size or length))
        self._take_in(kept - notes.synced)
        return kept

    def _is_of(self, notes: Notes) -> bool:
        """Whether the noted part is of this very file; one without any mark of identity is of none."""
        if notes.identity is None and notes.etag is None:
            return False
        return (notes.identity, notes.size) == (self.identity, self._file.size)

    def _take_in(self, count: int) -> None:
        """Hash the next `count` bytes of the part. Raises Stopped."""
        while count:
            if self._stop.is_set():
                self._output.close()
                raise Stopped
            block = self._output.read(min(_BLOCK, count))
            self._hash.update(block)
            count -= len(block)

    def _start_hashing(self) -> None:
        self._queue: queue.Queue[bytes | int | None] = queue.Queue(maxsize=64)
        self._hashing = threading.Thread(target=self._hash_all, args=(self._queue,), daemon=True)
        self._hashing.start()

    def _stop_hashing(self) -> None:
        if self._hashing.is_alive():
            self._queue.put(None)
            self._hashing.join()

    def _hash_all(self, blocks: queue.Queue[bytes | int | None]) -> None:
        pushed = hashed = self.offset
        while (block := blocks.get()) is not None:
            if not isinstance(block, int):
                self._hash.update(block)
                hashed += len(block)
                if hashed - pushed >= PUSH_EVERY:
                    self._push(pushed, hashed - pushed)
                    pushed = hashed
            elif self._failure is None:
                try:
                    os.fsync(self._output.fileno())
                    self._write_notes(block, self._hash.hexdigest())
                except OSError as failure:  # told by the next append; the queue must go on being emptied
                    self._failure = failure

    def _push(self, start: int, length: int) -> None:
        """Have the system begin to write these bytes to the disk, so that little is left for the sync at the end."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._output.fileno(), start, length, os.POSIX_FADV_DONTNEED)

    def _write_notes(self, synced: int, sha256: str) -> None:
        notes = Notes(self._file.size, self.identity, self.etag, synced, sha256, psutil.boot_time())
        durable.write_text(self._notes_path, json.dumps(asdict(notes)), sync=synced > 0)

    def _read_notes(self) -> Notes | None:
        try:
            return Notes(**json.loads(self._notes_path.read_text("utf-8")))
        except (OSError, ValueError, TypeError):
            return None
