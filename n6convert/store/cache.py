"""Results of stages by content: a key is the hash of everything that decides a result.

An entry is a folder that appears under its key in one rename, with all files flushed to disk, and is verified by hash
whenever it is used, facts included; a damaged one is dropped and made again, and so is whatever else lies in its place.
Killing a run at any moment loses the stage at work only.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.errors import OutputError
from n6convert.store.entry import RECORD, clear, move_in, move_out, read_entry
from n6convert.store.hashing import jsonable, key_of, sealed, sha256_of
from n6convert.store.inputs import leads_outside, occupied

__all__ = [
    "Cache",
    "Entry",
    "default_root",
    "jsonable",
    "key_of",
    "sha256_of",
    "write_all",
    "write_atomically",
    "os_errors",
]

if TYPE_CHECKING:
    from n6convert.store.users import Users

_FLUSHED_TOGETHER = 16
_CHECKPOINTS = "tune"
_STALE_SECONDS = 24 * 3600
#: how long an interrupted training can be taken up again
_CHECKPOINT_SECONDS = 7 * _STALE_SECONDS


@dataclass(frozen=True)
class Entry:
    """A stage's published result.

    Attributes:
        folder: where its files lie.
        facts: JSON-ready facts about the result.
        files: sha256 by path relative to ``folder``.
        seconds: what it took to make.
        reused: True when it came from the cache.
    """

    folder: Path
    facts: Mapping[str, Any]
    files: Mapping[str, str]
    seconds: float
    reused: bool = field(default=False, compare=False)


class Cache:
    """Stage results under a folder.

    Args:
        root: default the user's cache folder, or ``N6CONVERT_CACHE``.
        reuse: False makes every stage run again (its new result replaces the old one).
        limit: bytes above which :meth:`prune` removes the entries that were not used for longest.

    Attributes:
        users: the runs that use this cache; open ``users.run()`` around one.
    """

    def __init__(self, root: Path | None = None, *, reuse: bool = True, limit: int = 4 << 30) -> None:
        self.root = root or default_root()
        self.reuse = reuse
        self.limit = limit
        self._lost_scratch = False

    @cached_property
    def users(self) -> Users:
        """Which runs use the cache now."""
        from n6convert.store.users import Users

        return Users(self.root)

    def find(self, stage: str, key: str) -> Entry | None:
        """The entry under a key, or None when there is none or it is not what was written; then its place is free."""
        folder = self.root / "stages" / stage / key
        if not self.reuse or not occupied(folder):
            return None
        self.users.use(f"stages/{stage}/{key}")
        record = read_entry(folder, f"{stage}/{key}")
        if record is None:
            clear(folder)
            return None
        with suppress(OSError):
            os.utime(folder)
        return Entry(folder, record["facts"], record["files"], record["seconds"], reused=True)

    def publish(self, stage: str, key: str, made: Path, facts: Mapping[str, Any], seconds: float) -> Entry:
        """Move the files in the folder ``made`` (from :meth:`scratch`) under their key, at once.

        Args:
            stage: the entry's folder.
            key: hash of everything that the result depends on.
            made: a folder from :meth:`scratch`; it is gone afterwards.
            facts: plain data kept beside the files.
            seconds: how long the stage took.
        """
        files = {p.relative_to(made).as_posix(): p for p in sorted(made.rglob("*")) if p.is_file()}
        hashes = {name: sha256_of(p) for name, p in files.items()}
        facts = jsonable(facts)
        record = {"entry": f"{stage}/{key}", "facts": facts, "files": hashes, "seconds": seconds}
        final = self.root / "stages" / stage / key
        self.users.use(f"stages/{stage}/{key}")
        with os_errors(final):
            (made / RECORD).write_bytes(sealed(record))
            _flush_all([*files.values(), made / RECORD, made])
            self._make_folder(final.parent)
            move_in(made, final, record)
        return Entry(final, facts, hashes, seconds)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the cache's disk, removed afterwards."""
        folder = self.root / "scratch" / uuid.uuid4().hex
        self.users.use(f"scratch/{folder.name}")
        with os_errors(folder):
            self._make_folder(folder)
            identity = folder.stat().st_ino
        try:
            yield folder
        except BaseException:
            self._lost_scratch |= not folder.is_dir() or folder.stat().st_ino != identity
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def checkpoint(self, name: str) -> Path:
        """Where a training run keeps what it goes on from when it is interrupted: no other run removes it meanwhile.

        Args:
            name: hash of everything that decides the run.
        """
        self.users.use(f"{_CHECKPOINTS}/{name}.npz")
        return self.root / _CHECKPOINTS / f"{name}.npz"

    def lost(self, entries: Iterable[Entry]) -> bool:
        """Whether somebody deleted entries that are in use, or scratch space."""
        lost, self._lost_scratch = self._lost_scratch, False
        return lost or not all((entry.folder / name).is_file() for entry in entries for name in entry.files)

    def prune(self) -> None:
        """Remove what killed runs left behind, and old entries beyond the limit that no living run uses."""
        with suppress(OSError), self.users.quiet():
            leftovers = [self.root / name for name in self.users.abandoned() if name.startswith("scratch/")]
            used = {self.root / name for name in self.users.used()}
            doomed = [path for path in leftovers if not leads_outside(self.root, str(path.relative_to(self.root)))]
            doomed += [path for path in self._stale() if path not in used]
            doomed += [path for path in self._beyond_limit() if path not in used]
            out_of_reach = [move_out(path, self.root / "scratch") for path in doomed]
        for path in out_of_reach:
            clear(path)

    def _stale(self) -> Iterator[Path]:
        """Scratch space and unfinished downloads that nobody has touched for a day, checkpoints that are a week old."""
        patterns = {"scratch/*": _STALE_SECONDS, "weights/*.part": _STALE_SECONDS, "weights/tmp*": _STALE_SECONDS}
        for pattern, seconds in (patterns | {f"{_CHECKPOINTS}/*": _CHECKPOINT_SECONDS}).items():
            for path in self.root.glob(pattern):
                with suppress(OSError):
                    if time.time() - path.lstat().st_mtime > seconds:
                        yield path

    def _beyond_limit(self) -> Iterator[Path]:
        """Entries to go, the least recently used first, whether in use or not."""
        entries: list[tuple[float, int, Path]] = []
        for folder in [*self.root.glob("stages/*/*"), *self.root.glob(f"{_CHECKPOINTS}/*")]:
            with suppress(OSError):
                entries.append((folder.lstat().st_mtime, _size(folder), folder))
        excess = sum(size for _, size, _ in entries) - self.limit
        for _, size, folder in sorted(entries):
            if excess <= 0:
                break
            yield folder
            excess -= size

    def _make_folder(self, folder: Path) -> None:
        """Make a folder of the cache; a file or broken link in its way is ours to remove, above the cache it is not."""
        self.root.mkdir(parents=True, exist_ok=True)
        for part in reversed([folder, *folder.parents]):
            ours = part.is_relative_to(self.root) and part != self.root
            if ours and occupied(part) and not part.is_dir():  # in this order: another thread may be making it
                clear(part)
        folder.mkdir(parents=True, exist_ok=True)


def default_root() -> Path:
    """``N6CONVERT_CACHE``, or the platform's cache folder."""
    from platformdirs import user_cache_path

    configured = os.environ.get("N6CONVERT_CACHE")
    return Path(configured) if configured else user_cache_path("n6convert")


def write_atomically(path: Path, content: bytes | Path) -> None:
    """Write bytes, or copy a file, so that ``path`` is either the old file or the whole new one.

    Raises:
        OutputError: no space, no permission.
    """
    write_all({path: content})


def write_all(contents: Mapping[Path, bytes | Path]) -> None:
    """Write bytes, or copy files, each as :func:`write_atomically` does; the disk is waited for once.

    Raises:
        OutputError: no space, no permission.
    """
    asides = {path: path.with_name(f".{path.name}.{uuid.uuid4().hex}.part") for path in contents}
    try:
        for path, content in contents.items():
            with os_errors(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    shutil.copy(content, asides[path])
                else:
                    asides[path].write_bytes(content)
        with os_errors(next(iter(contents), Path())):
            _flush_all(list(asides.values()))
        for path, aside in asides.items():
            with os_errors(path):
                aside.replace(path)
    finally:
        for aside in asides.values():
            with suppress(OSError):  # its folder may be a file
                aside.unlink(missing_ok=True)


@contextmanager
def os_errors(place: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into an OutputError that says what to do."""
    try:
        yield
    except OSError as error:
        raise _output_error(error, place) from error
    except RecursionError:  # pathlib makes parents one inside the other
        raise _output_error(OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)), place) from None


def _output_error(error: OSError, place: Path) -> OutputError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutputError(
            "the disk is full",
            place=place,
            found=error.strerror,
            remedy="free some space and run again: finished stages are kept",
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return OutputError(
            "the folder cannot be written",
            place=place,
            found=error.strerror,
            remedy="choose another one with --output, or another cache with N6CONVERT_CACHE",
        )
    remedy = None
    if error.errno in {errno.ENOTDIR, errno.EEXIST} or isinstance(error, NotADirectoryError):
        remedy = "a file is in the way: choose another folder with --output, or another cache with N6CONVERT_CACHE"
    return OutputError("writing failed", place=place, found=error.strerror or str(error), remedy=remedy)


def _flush_all(paths: Sequence[Path]) -> None:
    """fsync files and folders, most at the same time: a disk writes them together."""
    if len(paths) < 2:
        for path in paths:
            _flush(path)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(len(paths), _FLUSHED_TOGETHER)) as pool:
        list(pool.map(_flush, paths))


def _flush(path: Path) -> None:
    """fsync a file or folder; folders cannot be flushed on every platform."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if not path.is_dir():
            raise error
    finally:
        os.close(handle)


def _size(path: Path) -> int:
    return sum(p.lstat().st_size for p in [path, *path.rglob("*")] if p.is_file())
