"""Which cache entries a living run uses, so that another run's clean-up leaves them alone.

A run holds the lock of a file of its own and lists there what it uses. The lock goes with the process, however it ends:
a list without a holder is what a killed run left behind. No clock is asked.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from n6convert.store.entry import clear
from n6convert.store.inputs import occupied
from n6convert.store.locks import lock_at

__all__ = ["Users"]

_FOLDER = "running"
_LOCK = "clean-up.lock"


class Users:
    """The runs that use a cache.

    Args:
        root: of the cache.
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / _FOLDER
        self._lists: dict[int, tuple[Path, BaseFileLock]] = {}
        self._mutex = threading.Lock()

    @contextmanager
    def run(self) -> Iterator[None]:
        """While this is open, entries that this thread names with :meth:`use` are kept."""
        mine = threading.get_ident()
        held = self._open() if mine not in self._lists else None
        if held is not None:
            self._lists[mine] = held
        try:
            yield
        finally:
            if held is not None:
                self._lists.pop(mine, None)
                _close(*held)

    def use(self, name: str) -> None:
        """Name an entry (``stages/export/<key>``) that is needed until the run ends; no more on a read-only disk."""
        held = self._lists.get(threading.get_ident())
        if held is None:
            return
        with suppress(OSError), self.quiet(), held[0].open("a", encoding="utf-8") as stream:
            stream.write(f"{name}\n")

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Nobody cleans up, and nobody takes up an entry, while this is open."""
        if occupied(self.folder) and not self.folder.is_dir():  # in this order: another thread may be making it
            clear(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._mutex, lock_at(self.folder / _LOCK):
            yield

    def used(self) -> set[str]:
        """What living runs use; to be called while it is :meth:`quiet`."""
        return {name for path in self._lists_on_disk() if not _is_free(path) for name in _names(path)}

    def abandoned(self) -> set[str]:
        """What killed runs used; forgets them. To be called while it is :meth:`quiet`."""
        found: set[str] = set()
        for path in self._lists_on_disk():
            if _is_free(path):
                found |= set(_names(path))
                clear(path)
        for lock in self.folder.glob("*-*.lock"):
            if lock != self.folder / _LOCK and not lock.with_suffix(".txt").exists() and _is_free(lock):
                clear(lock)
        return found

    def _open(self) -> tuple[Path, BaseFileLock] | None:
        path = self.folder / f"{os.getpid()}-{uuid.uuid4().hex}.txt"
        try:
            with self.quiet():
                lock = lock_at(path.with_suffix(".lock"))
                lock.acquire(timeout=0)
                path.touch()
        except (OSError, Timeout):
            return None
        return path, lock

    def _lists_on_disk(self) -> list[Path]:
        return sorted(self.folder.glob("*-*.txt"))


def _close(path: Path, lock: BaseFileLock) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
    with suppress(OSError):
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


def _is_free(path: Path) -> bool:
    """Whether nobody holds the lock of a list."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except (OSError, Timeout):
        return False
    lock.release()
    return True


def _names(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
