"""Work in a copy of this process, while this one does other work that does not need it.

The copy is made by fork: it has all modules loaded and sees what this process has in memory, so that it starts at once.
Whatever happens to it, its work can be done here instead, with the same result: it ends with this process, and is ended
when it is waited for in vain.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar, cast

from n6convert.errors import ToolError
from n6convert.logs import logger
from n6convert.runtime.child_process import end_with
from n6convert.runtime.threads import default_threads, limit_threads

__all__ = ["Aside", "can_fork", "own_process"]

T = TypeVar("T")
_LOG = logger(__name__)
#: seconds that the copy is waited for at least, and how many times as long as it had before; a library that does not
#: work in copies of a process may stand still in it
_LEAST_SECONDS, _PATIENCE = 10.0, 3.0
_CHUNK = 1 << 20
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
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self._since, self._parts, self._result = time.monotonic(), list[bytes](), list[T]()
        self._reading, writing = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):
                stream.flush()  # or the copy would print it as well
        parent = os.getpid()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._reading)
            _work(function, writing, parent)
        os.close(writing)

    def result(self) -> T:
        """What the function gave.

        Raises:
            ToolError: it failed, or its process was killed or stands still.
        """
        if not self._result:
            self._result.append(self._received())
        return self._result[0]

    def _received(self) -> T:
        deadline = time.monotonic() + max(_LEAST_SECONDS, _PATIENCE * (time.monotonic() - self._since))
        while True:
            ready, _, _ = select.select([self._reading], [], [], max(deadline - time.monotonic(), 0.0))
            part = os.read(self._reading, _CHUNK) if ready else b""
            if not part:
                break
            self._parts.append(part)
        self.close()
        try:
            return cast(T, pickle.loads(b"".join(self._parts)))
        except Exception as error:
            raise ToolError("a process beside this one gave no result") from error

    def close(self) -> None:
        """End the copy."""
        if self._pid:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            os.close(self._reading)
            self._pid = 0


def _work(function: Callable[[], T], writing: int, parent: int) -> None:
    """In the copy; never returns, or what stands behind the fork would run twice."""
    code = 1
    try:
        end_with(parent)
        limit_threads(1)
        with os.fdopen(writing, "wb") as stream:
            stream.write(pickle.dumps(function()))
        code = 0
    except BaseException as error:
        _LOG.debug("a copy of this process gave up: %r", error)
    finally:
        os._exit(code)
