"""How many threads to compute with: one rule, for every process and every library.

An explicit number wins, then ``N6CONVERT_THREADS``, then ``OMP_NUM_THREADS``, then the cores this process may use: its
CPU affinity and its container's CPU limit, not the cores that the machine happens to have.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeVar

from n6convert.errors import UsageError

__all__ = ["available_cores", "beside", "default_threads", "idle_threads", "limit_threads", "mapped", "one_for_arrays"]

T = TypeVar("T")
R = TypeVar("R")
_OWN, _OPENMP = "N6CONVERT_THREADS", "OMP_NUM_THREADS"
#: read by OpenBLAS, MKL and OpenMP when numpy is first imported
_NUMPY = "OPENBLAS_NUM_THREADS"
_LIBRARIES = (_OPENMP, _NUMPY, "MKL_NUM_THREADS")
_DIGITS = 3
#: seconds that an item must take to be worth a thread: the threads of one process take turns wherever Python runs
_WORTH = 0.004
#: say whether a copy of this process is at work
beside: list[Callable[[], bool]] = []
_CGROUP = Path("/sys/fs/cgroup")


def default_threads() -> int:
    """Threads inside operators where nobody gave a number.

    Raises:
        UsageError: ``N6CONVERT_THREADS`` is not a positive number.
    """
    own = os.environ.get(_OWN, "").strip()
    if own:
        if not own.isdecimal() or len(own) > _DIGITS or int(own) < 1:
            raise UsageError("the number of threads is wrong", place=f"environment variable {_OWN}", found=own,
                             limit="a number from 1 to 999", remedy=f"unset {_OWN} to use every core")  # fmt: skip
        return int(own)
    first = os.environ.get(_OPENMP, "").partition(",")[0].strip()  # a list names nested levels
    given = first.isdecimal() and len(first) <= _DIGITS and int(first) > 0
    return int(first) if given else available_cores()


def available_cores() -> int:
    """Cores this process may use, 1 at least."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cpu_limit(_CGROUP)
    return max(1, allowed if quota is None else min(allowed, int(quota)))


def idle_threads(threads: int | None = None) -> int:
    """Threads that no copy of this process takes, 1 at least.

    Args:
        threads: that there are in all; default :func:`default_threads`.
    """
    return max(1, (threads or default_threads()) - sum(at_work() for at_work in beside))


def mapped(function: Callable[[T], R], items: Iterable[T], threads: int | None = None) -> Iterator[R]:
    """The results of a function in the order of the items, as many items at work at once as there are idle threads.

    Whatever the number of threads, results are those of one: nothing is shared between items. The first item is done
    here; so are the others where it took too little time for threads to help.

    Args:
        function: of one item; computes with one thread.
        items: read as far ahead as there are threads.
        threads: default :func:`default_threads`.
    """
    left, many = iter(items), (threads or default_threads()) > 1
    for item in islice(left, 1) if many else ():
        start = time.perf_counter()
        result = function(item)
        many = time.perf_counter() - start > _WORTH
        yield result
    if not many:
        yield from map(function, left)
        return
    from collections import deque
    from concurrent.futures import Future, ThreadPoolExecutor

    with ThreadPoolExecutor(threads or default_threads()) as pool:
        at_work: deque[Future[R]] = deque()
        for item in left:
            idle = idle_threads(threads)
            at_work.append(pool.submit(function, item))
            while len(at_work) > (idle if idle > 1 else 0):
                yield at_work.popleft().result()
        while at_work:
            yield at_work.popleft().result()


def limit_threads(count: int) -> None:
    """Hold this process and its children to ``count`` threads; call it before numpy is imported to hold BLAS, too."""
    for name in (_OWN, *_LIBRARIES):
        os.environ[name] = str(count)


def one_for_arrays() -> None:
    """One thread for numpy's products of matrices, unless somebody gave a number; call it before numpy is imported.

    Its threads wait for each other in a loop: small matrices gain nothing, and on a busy machine all stand still.
    """
    os.environ.setdefault(_NUMPY, "1")


def _cpu_limit(root: Path) -> float | None:
    """Cores that the control group grants (version 2, then 1), None without a limit."""
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((root / name).read_text() for name in names).split()
            return int(quota) / int(period) if int(quota) > 0 else None
        except (OSError, ValueError, ZeroDivisionError):  # absent, or "max"
            continue
    return None
