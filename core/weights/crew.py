"""Several files at once: what is here already, what is fetched, and how far it all is."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import Empty, SimpleQueue

from core.operation import Progress
from core.weights import durable, fetch, hashes, names
from core.weights.part import SUFFIX
from core.weights.sources import RemoteFile
from core.weights.web import Stopped, Web

_MB = 1_000_000
_TICK = 0.2


class Crew:
    """Fetches files of one repository into one folder with some threads; the caller's thread watches and reports."""

    def __init__(self, web: Web, folder: Path, url: Callable[[RemoteFile], str], progress: Progress) -> None:
        self._web = web
        self._folder = folder
        self._url = url
        self._progress = progress
        self._lock = threading.Lock()
        self._bytes = 0
        self._total = 0
        self.fetched = 0
        """Bytes that came over the network."""

    def look(self, files: Iterable[RemoteFile], cache: Path | None) -> dict[str, str]:
        """Files that need not be fetched, name -> sha256: whole ones here, and those of huggingface_hub's cache.

        A file that is here but is not the listed one is replaced once the listed one is whole.
        """
        present: dict[str, str] = {}
        for file in files:
            self._total += file.size or 0
            path = names.target(self._folder, file.name)
            sha256 = self._here(path, file) or (cache and self._from_cache(path, file, cache))
            if sha256:
                present[file.name] = sha256
                self._bytes += file.size or 0
            elif path.is_file():
                self._progress.log(f"{file.name} is not as listed: fetching it again")
        return present

    def missing_bytes(self, files: Iterable[RemoteFile]) -> int:
        """What still has to be written, parts left by earlier calls taken off."""
        total = 0
        for file in files:
            part = self._folder / (file.name + SUFFIX)
            total += max(0, (file.size or 0) - (part.stat().st_size if part.is_file() else 0))
        return total

    def fetch(self, files: list[RemoteFile], parallel: int) -> dict[str, str]:
        """Fetch all, the largest first; name -> sha256. Raises what the first failing one raised."""
        waiting: SimpleQueue[RemoteFile] = SimpleQueue()
        for file in sorted(files, key=lambda file: -(file.size or 0)):
            waiting.put(file)
        outcomes: SimpleQueue[tuple[RemoteFile, str | BaseException]] = SimpleQueue()
        hands = [
            threading.Thread(target=self._work, args=(waiting, outcomes), daemon=True)
            for _ in range(min(parallel, len(files)))
        ]
        for hand in hands:
            hand.start()
        try:
            return self._watch(hands, outcomes, len(files))
        except BaseException:
            # also on Cancelled: parts are noted and closed; a hand that waits on a silent server is left to it
            self._web.stop.set()
            deadline = time.monotonic() + 5
            for hand in hands:
                hand.join(max(0.0, deadline - time.monotonic()))
            raise

    def _watch(
        self, hands: list[threading.Thread], outcomes: SimpleQueue[tuple[RemoteFile, str | BaseException]], count: int
    ) -> dict[str, str]:
        done: dict[str, str] = {}
        marks = [(time.monotonic(), self._bytes)]
        while len(done) < count:
            try:
                file, outcome = outcomes.get(timeout=_TICK)
                if isinstance(outcome, BaseException):
                    raise outcome
                done[file.name] = outcome
                hashes.remember(self._folder, {file.name: outcome})
                self._progress.log(f"{file.name}: whole and checked")
            except Empty:
                pass
            self._report(marks)
        for hand in hands:
            hand.join()
        return done

    def _report(self, marks: list[tuple[float, int]]) -> None:
        """Progress, and the rate of the last ten seconds."""
        now, moved = time.monotonic(), self._bytes
        total = max(self._total, moved)
        self._progress.step(round(moved / _MB, 1), round(total / _MB, 1), "MB")
        if now - marks[-1][0] >= 1:
            marks.append((now, moved))
            del marks[:-10]
            (then, before) = marks[0]
            self._progress.metric(megabytes_per_second=max(0.0, (moved - before) / _MB / (now - then)))

    def _work(
        self, waiting: SimpleQueue[RemoteFile], outcomes: SimpleQueue[tuple[RemoteFile, str | BaseException]]
    ) -> None:
        while not self._web.stop.is_set():
            try:
                file = waiting.get_nowait()
            except Empty:
                return
            try:
                target = names.target(self._folder, file.name)
                outcomes.put((file, fetch.fetch(self._web, self._url(file), target, file, self._moved)))
            except Stopped:
                return
            except BaseException as failure:  # noqa: BLE001 — handed over to the thread that watches
                outcomes.put((file, failure))
                return

    def _moved(self, count: int, *, received: bool = False) -> None:
        with self._lock:
            self._bytes += count
            self.fetched += count if received else 0

    def _here(self, path: Path, file: RemoteFile) -> str | None:
        """The sha256 of a whole file that is here under its final name; only one that changed is hashed again."""
        if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
            return None
        known = hashes.remembered(self._folder, file.name)
        if file.sha256 is None and file.git_sha1 is None:
            return known
        if file.sha256 is None and fetch.git_sha1(path) != file.git_sha1:
            return None
        sha256 = known or hashes.digest(path)
        if file.sha256 and sha256 != file.sha256.lower():
            return None
        hashes.remember(self._folder, {file.name: sha256})
        return sha256

    def _from_cache(self, path: Path, file: RemoteFile, cache: Path) -> str | None:
        """Take a blob of huggingface_hub's cache, if it is what its name says: by a hard link, else by a copy."""
        blob = cache / (file.sha256 or file.git_sha1 or "-")
        if not blob.is_file() or blob.stat().st_size != file.size:
            return None
        sha256 = hashes.digest(blob)
        if (file.sha256 or "").lower() != sha256 and fetch.git_sha1(blob) != file.git_sha1:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(blob, path)
        except OSError:
            copy = path.with_name(f".{path.name}.tmp")
            shutil.copyfile(blob, copy)
            durable.publish(copy, path)
        hashes.remember(self._folder, {file.name: sha256})
        self._progress.log(f"{file.name}: taken from the local cache")
        return sha256
