"""The same function for every shard: here, in processes of this machine, or on Ray.

`each(job, tasks)` yields results as they come. A job is a module-level function of one task that leaves its result
also on disk, so that whoever starts again asks only for what is missing. A UserError of a job ends the whole.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import connection
from typing import Any, Protocol, TypeVar

from core import paths, resources
from core.errors import UserError

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2
"""Tasks a worker that are handed out at a time: enough that none waits, few enough to stop soon."""


class Executor(Protocol):
    def each(self, job: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]: ...


@contextmanager
def open_executor(where: str, workers: int) -> Iterator[Executor]:
    """`local`, `ray` or `ray://HOST:PORT`; 0 workers: one a processor. Raises UserError where Ray can't be reached."""
    if where != "local":
        with _ray(where) as library:
            yield _Ray(library, workers)
        return
    workers = workers or resources.cores()
    if workers == 1:
        yield _Here()
        return
    # spawned, not forked: the parent may have threads, and every system knows it
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent)
    try:
        yield _Processes(pool, workers)
    finally:
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # what is half done is done anew; nothing of it counts
            process.terminate()
            process.join(10)


def _end_with_parent() -> None:
    """A worker whose build was killed would wait for ever for its next task."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        connection.wait([parent.sentinel])  # type: ignore[union-attr]
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end with parent").start()


class _Here:
    """In this process, one after the other."""

    def each(self, job: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        for task in tasks:
            yield _answer(told(job, task))


class _Processes:
    def __init__(self, pool: ProcessPoolExecutor, workers: int) -> None:
        self._pool = pool
        self._most = workers * AHEAD

    def each(self, job: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        coming, running = iter(tasks), set[Future]()
        try:
            while True:
                while len(running) < self._most and (task := next(coming, None)) is not None:
                    running.add(self._pool.submit(told, job, task))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield _answer(future.result())
        except BrokenProcessPool as error:
            raise UserError(
                "A worker process was killed, most likely because memory ran out.",
                remedy="Start the build again: it goes on. Fewer workers, or smaller shards, need less memory.",
            ) from error


class _Ray:
    """A cluster whose machines see the same folders and have this program in the same place."""

    def __init__(self, library: Any, workers: int) -> None:
        self._ray = library
        self._workers = workers

    def each(self, job: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        # a task whose machine is lost is given to another: it begins anew and leaves the same files
        remote = self._ray.remote(num_cpus=1, max_retries=3)(told)
        most = AHEAD * (self._workers or max(1, int(self._ray.cluster_resources().get("CPU", 1))))
        if self._workers:
            most = self._workers
        coming, running = iter(tasks), list[Any]()
        while True:
            while len(running) < most and (task := next(coming, None)) is not None:
                running.append(remote.remote(job, task))
            if not running:
                return
            done, running = self._ray.wait(running, num_returns=1)
            for reference in done:
                try:
                    answer = self._ray.get(reference)
                except self._ray.exceptions.RayError as error:
                    raise _ray_failed(str(error)) from error
                yield _answer(answer)


@contextmanager
def _ray(where: str) -> Iterator[Any]:
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "Ray is not installed.",
            remedy="Run “pip install -r requirements-train.txt” on every machine, or use the executor local.",
        ) from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ours = not ray.is_initialized()
    try:
        if ours:
            ray.init(
                address=None if where == "ray" and not os.environ.get("RAY_ADDRESS") else _address(where),
                include_dashboard=False if where == "ray" and not os.environ.get("RAY_ADDRESS") else None,
                log_to_driver=False,
                runtime_env={"env_vars": {"PYTHONPATH": str(paths.PROJECT)}},
            )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _ray_failed(str(error)) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _address(where: str) -> str | None:
    return where if where.startswith("ray://") else None  # RAY_ADDRESS then says which


def _ray_failed(why: str) -> UserError:
    return UserError(
        "The Ray cluster failed: {why}",
        remedy="Check its address and that its machines see the same folders; then start the build again: it goes on.",
        why=" ".join(why.split())[-400:],
    )


def told(job: Callable[[Any], Any], task: Any) -> tuple[Any, dict[str, Any] | None]:
    """(result, None) or (None, the UserError as a dict): errors that cross processes as they are."""
    try:
        return job(task), None
    except UserError as error:
        return None, error.to_dict()
    except MemoryError:
        return None, _no_memory().to_dict()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return None, _disk_full(error).to_dict()


def _no_memory() -> UserError:
    return UserError(
        "Memory ran out in a worker.",
        remedy="Start the build again: it goes on. Fewer workers, or smaller shards, need less memory.",
    )


def _disk_full(error: OSError) -> UserError:
    return UserError(
        "The disk is full; {file} could not be written.",
        remedy="Free some space, then start the build again: it goes on where it stopped.",
        file=error.filename or "–",
    )


def _answer(made: tuple[Any, dict[str, Any] | None]) -> Any:
    result, error = made
    if error is not None:
        raise UserError.from_dict(error)
    return result
