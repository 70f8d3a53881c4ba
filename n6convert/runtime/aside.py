"""Work in a copy of this process, while this one does other work that does not need it.

The copy is made by fork: it has all modules loaded and sees what this process has in memory, so that it starts at once.
Whatever happens to it, its work can be done here instead, with the same result: it ends with this process, and is ended
when it is waited for in vain.
"""

from __future__ import annotations

import gc
import os
import pickle
import select
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import IO, Generic, TypeVar, cast

from n6convert.errors import ToolError
from n6convert.logs import logger
from n6convert.runtime.child_process import end_with
from n6convert.runtime.threads import beside, default_threads, limit_threads

__all__ = ["Aside", "begun", "can_fork", "own_process"]

T = TypeVar("T")
_LOG = logger(__name__)
#: seconds that the copy is waited for at least, and how many times as long as it had before; a library that does not
#: work in copies of a process may stand still in it
_LEAST_SECONDS, _PATIENCE = 10.0, 3.0
#: steps of priority below this process
_NICE = 10
_own = False


def own_process() -> None:
    """Say that this process is n6convert's: its threads hold nothing that a copy would wait for."""
    global _own
    _own = True


def can_fork() -> bool:
    """Whether a copy of this process can work beside it: there is a core for it, and no thread that is not ours.

    A lock that another thread holds at that moment stays locked in the copy.
    """
    return sys.platform == "linux" and default_threads() > 1 and (_own or threading.active_count() == 1)


class Aside(Generic[T]):
    """A function at work in a copy of this process.

    Args:
        function: its result is pickled; what it changes stays in the copy.
        hurried: whether this process will soon wait for it; else it takes what others leave of the cores.
    """

    def __init__(self, function: Callable[[], T], *, hurried: bool = True) -> None:
        self._since, self._result = time.monotonic(), list[T]()
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the copy; a pipe would hold it up
        self._reading, writing = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()  # or the copy would print it as well
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reading)
            os.nice(0 if hurried else _NICE)
            _work(function, self._file, parent)
        os.close(writing)
        if hurried:
            beside.append(self.at_work)

    def at_work(self) -> bool:
        """Whether it is not yet done."""
        return not select.select([self._reading], [], [], 0.0)[0]

    def result(self) -> T:
        """What the function gave.

        Raises:
            ToolError: it failed, or its process was killed or stands still.
        """
        if not self._result:
            self._result.append(self._received())
        return self._result[0]

    def _received(self) -> T:
        patience = max(_LEAST_SECONDS, _PATIENCE * (time.monotonic() - self._since))
        select.select([self._reading], [], [], patience)  # its end closes the pipe
        try:
            self._stop()
            self._file.seek(0)
            return cast(T, pickle.load(self._file))
        except Exception as error:
            raise ToolError("a process beside this one gave no result") from error
        finally:
            self.close()

    def close(self) -> None:
        """End the copy."""
        self._stop()
        self._file.close()

    def _stop(self) -> None:
        if self._pid:
            with suppress(ValueError):
                beside.remove(self.at_work)
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            os.close(self._reading)
            self._pid = 0


@contextmanager
def begun(function: Callable[[], T], there: Callable[[], None]) -> Iterator[Callable[[], T]]:
    """A function at work in a copy of this process while the block goes on: what is yielded gives its result.

    Without a core for a copy, or where it fails, the function is called here as soon as its result is asked for.

    Args:
        function: changes nothing that this process needs.
        there: called first in the copy, and only there.
    """
    if not can_fork():
        yield function
        return

    def in_copy() -> T:
        there()
        return function()

    with closing(Aside(in_copy)) as copy:

        def result() -> T:
            try:
                return copy.result()
            except ToolError as error:
                _LOG.info("done again by this process, since %s", error)
                return function()

        yield result


def _work(function: Callable[[], T], file: IO[bytes], parent: int) -> None:
    """In the copy; never returns, or what stands behind the fork would run twice."""
    code = 1
    try:
        end_with(parent)
        limit_threads(1)
        beside.clear()
        gc.freeze()  # a search for garbage would copy all memory that it goes through
        pickle.dump(function(), file)
        file.flush()
        code = 0
    except BaseException as error:
        _LOG.debug("a copy of this process gave up: %r", error)
    finally:
        os._exit(code)
