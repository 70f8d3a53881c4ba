"""Work over samples that this process and a copy of it do together, each on half of them, in step.

Python runs on one core at a time in each process, so that threads do not help where samples take short runs with much
Python between them. What both find is joined in the order of the samples, so that the result is that of one process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import ToolError
from n6convert.logs import logger
from n6convert.runtime.aside import Aside, can_fork
from n6convert.runtime.threads import default_threads, idle_threads, limit_threads

__all__ = ["Half", "in_halves"]

T = TypeVar("T")
_LOG = logger(__name__)
#: seconds that one process waits for the other at most
_PATIENCE = 60.0


class Half:
    """What one of the two processes does.

    Args:
        other: leads to the other process; None: there is none, this one has all samples.
        first: whether it has the first half.
    """

    def __init__(self, other: Connection | None = None, *, first: bool = True) -> None:
        self._other, self.first = other, first

    def span(self, count: int) -> slice:
        """Which of so many samples are its own."""
        middle = (count + 1) // 2
        return slice(0, count) if self._other is None else slice(0, middle) if self.first else slice(middle, count)

    def joined(self, own: NDArray[Any]) -> NDArray[Any]:
        """What both found, in the order of the samples, which lie along the first axis.

        Raises:
            ToolError: the other process ended, or stands still.
        """
        if self._other is None:
            return own
        try:
            if self.first:
                self._other.send(own)
            if not self._other.poll(_PATIENCE):
                raise EOFError
            found = self._other.recv()
            if not self.first:
                self._other.send(own)
        except (EOFError, OSError) as error:
            raise ToolError("a process beside this one gave no result") from error
        return np.concatenate([own, found] if self.first else [found, own])


def in_halves(work: Callable[[Half], T], count: int) -> T:
    """What a function gives that is called here and in a copy of this process, each time with a half of the samples.

    It is called here for all of them where there is no core for a copy, or the copy fails.

    Args:
        work: may be called twice.
        count: of samples.
    """
    if count > 1 and can_fork() and idle_threads() > 1:
        here, there = Pipe()
        cores, threads = sorted(os.sched_getaffinity(0)), default_threads() // 2
        with closing(here), closing(Aside(lambda: _silently(work, there, cores[1::2], threads))), _on(cores[::2]):
            there.close()
            try:
                return work(Half(here))
            except ToolError as error:
                _LOG.info("done again by one process, since %s", error)
    return work(Half())


def _silently(work: Callable[[Half], object], other: Connection, cores: Sequence[int], threads: int) -> None:
    limit_threads(threads)
    with _on(cores):
        work(Half(other, first=False))


@contextmanager
def _on(cores: Sequence[int]) -> Iterator[None]:
    """Keep to some cores: processes that wake each other would soon share one."""
    before = os.sched_getaffinity(0)
    with suppress(OSError):
        os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)
