"""Python modules in a child process that ends when its parent does, however that ends.

The child runs this file as a script: it imports nothing of n6convert and nothing of the working folder, which may be
anybody's.
"""

from __future__ import annotations

import ctypes
import logging
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

__all__ = ["end_with", "finish", "run_python", "start_python"]

_SECONDS = 1.0
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def run_python(
    module: str,
    arguments: Sequence[str],
    *,
    time_limit: float | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """``python -m module arguments`` to its end.

    Args:
        module, arguments, environment, folder: as :func:`start_python` takes them.
        time_limit: seconds, after which the child is killed.

    Raises:
        subprocess.TimeoutExpired: out of time.
    """
    return finish(start_python(module, arguments, environment=environment, folder=folder), time_limit)


def start_python(
    module: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.Popen[str]:
    """``python -m module arguments``, for :func:`finish`; it may wait for a line of its standard input before it works.

    Args:
        environment: variables to set beyond this process's own.
        folder: its working folder, where it also finds modules that are nowhere else; default this process's, in which
            it looks for none.
    """
    own = [str(Path(__file__).resolve()), str(os.getpid()), str(folder.resolve()) if folder else ""]
    command = [sys.executable, "-P", *own, module, *arguments]
    logging.getLogger("n6convert.runtime.child_process").debug("python -m %s %s", module, " ".join(arguments))
    variables = os.environ | dict(environment or {})
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace", env=variables, cwd=folder
    )


def finish(
    child: subprocess.Popen[str], time_limit: float | None = None, meanwhile: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    """Let a child that waits for a line go on, to its end.

    Args:
        child: from :func:`start_python`.
        time_limit: seconds from now on, after which it is killed.
        meanwhile: done here while it works.

    Raises:
        subprocess.TimeoutExpired: out of time.
    """
    until = None if time_limit is None else time.monotonic() + time_limit
    with child:
        try:
            with suppress(OSError):  # it may have ended
                assert child.stdin is not None
                child.stdin.write("\n")
                child.stdin.close()
            child.stdin = None  # or it would be closed once more
            if meanwhile is not None:
                meanwhile()
            output, complaints = child.communicate(timeout=None if until is None else max(until - time.monotonic(), 0))
        except BaseException:
            child.kill()
            raise
    return subprocess.CompletedProcess(child.args, child.returncode, output, complaints)


def _main(parent: int, folder: str, module: str, arguments: Sequence[str]) -> None:
    """In the child."""
    end_with(parent)
    if folder:
        sys.path.append(folder)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def end_with(parent: int) -> None:
    """Linux ends the child at once, also inside native code; elsewhere a thread looks every second."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.name == "posix":
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    _main(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
