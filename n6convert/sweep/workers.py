"""Running points: in processes on this machine, or on a Dask cluster that is already there."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from n6convert.errors import N6ConvertError, ToolError
from n6convert.sweep.grid import GridPoint
from n6convert.sweep.results import PointResult, summarise

__all__ = ["convert_point", "run_dask", "run_processes"]

_RETRIES = 2


def convert_point(point: GridPoint, threads: int) -> PointResult:
    """Convert one point in this process; a failure becomes a result that says why."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from n6convert import convert

    try:
        result = convert(point.model, settings=point.settings, **point.common)
    except N6ConvertError as error:
        return _failed(point, str(error))
    except Exception as error:  # a sweep survives whatever one point does
        return _failed(point, f"{type(error).__name__}: {error}")
    report = result.report.model_dump(mode="json", by_alias=True)
    return summarise(point.key, point.label, point.settings, str(result.folder), report)


def run_processes(points: Sequence[GridPoint], workers: int) -> Iterator[PointResult]:
    """Points as they finish, ``workers`` at a time, each in a process of its own.

    A native crash or an out-of-memory kill of one point costs only the points in flight: those run again, each alone,
    and only the one that kills its process again is given up.
    """
    threads = max(1, (os.cpu_count() or 1) // workers)
    orphans: list[GridPoint] = []
    with _pool(workers) as pool:
        futures = {pool.submit(convert_point, point, threads): point for point in points}
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
        futures = [client.submit(convert_point, p, 1, key=f"n6-{p.key}", retries=_RETRIES, pure=False) for p in points]
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


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _alone(point: GridPoint, threads: int) -> PointResult:
    try:
        with _pool(1) as pool:
            return pool.submit(convert_point, point, threads).result()
    except BrokenProcessPool:
        return _failed(point, "its process was killed (out of memory, or a crash in native code)")


def _failed(point: GridPoint, error: str) -> PointResult:
    return PointResult(point.key, point.label, dict(point.settings), error=error)
