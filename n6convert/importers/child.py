"""Frameworks at arm's length: a child process exports, so that its memory, its crash and its imports end with it.

Plugins may use this for exports of their own.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from n6convert.errors import ToolError
from n6convert.runtime.child_process import run_python

__all__ = ["HUGGING_FACE", "Child", "installed", "require", "run_module", "scratch_folder"]

#: environment of a child that uses transformers: torch alone, nothing from the network
HUGGING_FACE = {"USE_TF": "0", "USE_FLAX": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
_LONGEST = 400


@dataclass(frozen=True)
class Child:
    """A child process that has ended: exit code, and what it printed on both streams."""

    code: int
    text: str

    @property
    def last(self) -> str:
        """The last line it printed, which for an exception is its message; else the exit code."""
        lines = [line for line in self.text.strip().splitlines() if line.strip()]
        return lines[-1][:_LONGEST] if lines else f"exit code {self.code}"


def run_module(
    module: str,
    arguments: Sequence[str],
    *,
    place: Path,
    time_limit: float = 900.0,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Child:
    """``python -m module arguments`` to its end, or to this process's; judging the exit code is the caller's.

    Args:
        place: file or folder the child works on, for messages.
        time_limit: seconds.
        environment: variables to set beyond this process's own.
        folder: its working folder; default this process's.

    Raises:
        ToolError: out of time.
    """
    try:
        done = run_python(module, arguments, time_limit=time_limit, environment=environment, folder=folder)
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{module} ran out of time", place=place, limit=f"{time_limit:g} s") from error
    return Child(done.returncode, done.stdout + done.stderr)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder for what is passed to and fro; what a killed process leaves in it is cleaned up later on."""
    from n6convert.store.cache import Cache

    with Cache().scratch() as folder:
        yield folder


def require(modules: Sequence[str], what: str, remedy: str) -> None:
    """Refuse before any work when modules are not installed; none of them is imported.

    Args:
        modules: dotted names.
        what: what needs them, as the message's subject.
        remedy: the command that installs them.

    Raises:
        ToolError: names the missing ones.
    """
    missing = [name for name in modules if not installed([name])]
    if missing:
        raise ToolError(f"{what} needs more packages", found=f"no {', '.join(missing)}", remedy=remedy)


def installed(modules: Sequence[str]) -> bool:
    """Whether all modules are there; none of them is imported."""
    try:
        return all(find_spec(name) is not None for name in modules)
    except ModuleNotFoundError:  # a parent package is missing
        return False
