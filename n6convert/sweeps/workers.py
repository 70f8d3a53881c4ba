"""Running points: in processes on this machine, or on a Dask cluster that is already there."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

from n6convert.errors import N6ConvertError, ToolError
from n6convert.runtime.threads import available_cores, default_threads, limit_threads
from n6convert.sweeps.grid import GridPoint
from n6convert.sweeps.results import PointResult, summarize

__all__ = ["convert_point", "run_dask", "run_processes"]

_RETRIES = 2


def convert_point(point: GridPoint) -> PointResult:
    """Convert one point in this process; a failure becomes a result that says why."""
    from n6convert import convert

    try:
        result = convert(point.model, settings=point.settings, **point.common)
    except N6ConvertError as error:
        return _failed(point, str(error))
    except Exception as error:  # a sweep survives whatever one point does
        return _failed(point, f"unexpected {type(error).__name__}: {error}; convert this point alone with --debug")
    return summarize(point.key, point.label, point.settings, str(result.folder), result.report)


def run_processes(points: Sequence[GridPoint], workers: int) -> Iterator[PointResult]:
    """Points as they finish, ``workers`` at a time, each in a process of its own.

    A native crash or an out-of-memory kill of one point costs only the points in flight: those run again, each alone,
    and only the one that kills its process again is given up.
    """
    threads = max(1, min(default_threads(), available_cores() // workers))
    orphans: list[GridPoint] = []
    with _pool(workers, threads) as pool:
        futures = {pool.submit(convert_point, point): point for point in _apart(points, workers)}
        for future in as_completed(futures):
            try:
                yield future.result()
            except BrokenProcessPool:
                orphans.append(futures[future])
    for point in orphans:
        yield _alone(point, threads)


def run_dask(points: Sequence[GridPoint], address: str) -> Iterator[PointResult]:
    """Points as they finish on an existing cluster; Dask itself moves the work of a lost worker to another.

    Raises:
        ToolError: ``distributed`` is missing or the scheduler cannot be reached.
    """
    client, completed = _connect(address)
    with client:
        futures = [client.submit(convert_point, p, key=f"n6-{p.key}", retries=_RETRIES, pure=False) for p in points]
        names = {future.key: point for future, point in zip(futures, points, strict=True)}
        for future in completed(futures):
            point = names[future.key]
            yield (
                future.result()
                if future.status == "finished"
                else _failed(point, f"the workers died: {future.exception()}")
            )


def _connect(address: str) -> tuple[Any, Callable[[Any], Any]]:
    client: Any
    try:
        import distributed
    except ImportError:
        raise ToolError("Dask is not installed", remedy="pip install 'n6convert[dask]'") from None
    try:
        client = distributed.Client
        return client(address, timeout="10s"), distributed.as_completed
    except (OSError, ValueError) as error:
        raise ToolError("the Dask scheduler cannot be reached", place=address, found=str(error)) from None


def _apart(points: Sequence[GridPoint], workers: int) -> list[GridPoint]:
    """An order in which neighbors are far apart in the grid, so that workers seldom make the same stage at once."""
    size = -(-len(points) // workers)
    blocks = [points[start : start + size] for start in range(0, len(points), size)]
    return [point for column in zip_longest(*blocks) for point in column if point is not None]


@contextmanager
def _pool(workers: int, threads: int) -> Iterator[ProcessPoolExecutor]:
    """Fresh processes that share the cores. When the sweep is interrupted they end at once, not after their points."""
    others = set(multiprocessing.active_children())
    fresh = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=fresh, initializer=_begin, initargs=(threads,))
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise


def _begin(threads: int) -> None:
    """In a new worker, before it imports what reads the number of threads; it must not outlive a killed parent."""
    limit_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _alone(point: GridPoint, threads: int) -> PointResult:
    try:
        with _pool(1, threads) as pool:
            return pool.submit(convert_point, point).result()
    except BrokenProcessPool:
        return _failed(point, "its process was killed (out of memory, or a crash in native code)")


def _failed(point: GridPoint, error: str) -> PointResult:
    return PointResult(point.key, point.label, dict(point.settings), error=error)
