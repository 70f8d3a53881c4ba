"""Results of stages by content: a key is the hash of everything that decides a result.

An entry is a folder that appears under its key in one rename, with all files flushed to disk, and is verified by hash
whenever it is used; a damaged one is dropped and made again. Killing a run at any moment loses the stage at work only.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

from n6convert.errors import OutputError

__all__ = ["Cache", "Entry", "default_root", "jsonable", "key_of", "sha256_of", "write_atomically", "writing"]

_RECORD = "entry.json"
_STALE_SECONDS = 24 * 3600
_CHUNK = 1 << 20


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
    """

    def __init__(self, root: Path | None = None, *, reuse: bool = True, limit: int = 4 << 30) -> None:
        self.root = root or default_root()
        self.reuse = reuse
        self.limit = limit

    def find(self, stage: str, key: str) -> Entry | None:
        """The entry under a key, or None when there is none or its files are not what was written."""
        folder = self.root / "stages" / stage / key
        if not self.reuse or not (folder / _RECORD).is_file():
            return None
        try:
            record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
            intact = all(sha256_of(folder / name) == sha for name, sha in record["files"].items())
        except (OSError, ValueError, KeyError):
            intact = False
        if not intact:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        with suppress(OSError):
            os.utime(folder)
        return Entry(folder, record["facts"], record["files"], record["seconds"], reused=True)

    def publish(self, stage: str, key: str, made: Path, facts: Mapping[str, Any], seconds: float) -> Entry:
        """Move the files in the folder ``made`` (from :meth:`scratch`) under their key, at once."""
        files = {p.relative_to(made).as_posix(): p for p in sorted(made.rglob("*")) if p.is_file()}
        hashes = {name: sha256_of(p) for name, p in files.items()}
        facts = jsonable(facts)
        record = {"facts": facts, "files": hashes, "seconds": seconds}
        with writing(made):
            (made / _RECORD).write_text(json.dumps(record, indent=1, allow_nan=False), encoding="utf-8")
            for path in [*files.values(), made / _RECORD, made]:
                _flush(path)
            final = self.root / "stages" / stage / key
            final.parent.mkdir(parents=True, exist_ok=True)
            _move(made, final)
        return Entry(final, facts, hashes, seconds)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the cache's disk, removed afterwards."""
        folder = self.root / "scratch" / uuid.uuid4().hex
        with writing(folder):
            folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def prune(self) -> None:
        """Remove what killed runs left behind a day ago, and old entries beyond the limit."""
        for folder in self.root.glob("scratch/*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > _STALE_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
        entries = [(folder.stat().st_mtime, _size(folder), folder) for folder in self.root.glob("stages/*/*")]
        total = sum(size for _, size, _ in entries)
        for _, size, folder in sorted(entries):
            if total <= self.limit:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total -= size


def default_root() -> Path:
    """``N6CONVERT_CACHE``, or the platform's cache folder."""
    from platformdirs import user_cache_path

    configured = os.environ.get("N6CONVERT_CACHE")
    return Path(configured) if configured else user_cache_path("n6convert")


def key_of(parts: Mapping[str, Any]) -> str:
    """Hash of JSON-ready parts, independent of their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def jsonable(value: Any) -> Any:
    """Plain data for JSON: numpy values as Python's, enums and paths as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def sha256_of(path: Path) -> str:
    """Hash of a file, or of a folder's relative file names and file hashes."""
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            line = f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes | Path) -> None:
    """Write bytes, or copy a file, so that ``path`` is either the old file or the whole new one.

    Raises:
        OutputError: no space, no permission.
    """
    with writing(path):
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if isinstance(content, Path):
                shutil.copy(content, aside)
            else:
                aside.write_bytes(content)
            _flush(aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn the operating system's refusals to write into an OutputError that says what to do."""
    try:
        yield
    except OSError as error:
        raise _output_error(error, place) from error


def _output_error(error: OSError, place: Path) -> OutputError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return OutputError(
            "the disk is full", place=place, found=error.strerror,
            remedy="free some space and run again: finished stages are kept",
        )
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return OutputError(
            "the folder cannot be written", place=place, found=error.strerror,
            remedy="choose another one with --output, or another cache with N6CONVERT_CACHE",
        )
    remedy = None
    if error.errno in {errno.ENOTDIR, errno.EEXIST} or isinstance(error, NotADirectoryError):
        remedy = "a file is in the way: choose another folder with --output, or another cache with N6CONVERT_CACHE"
    return OutputError("writing failed", place=place, found=error.strerror or str(error), remedy=remedy)


def _move(made: Path, final: Path) -> None:
    """Rename a folder into place. A simultaneous run may have been faster: equal results stay, others give way."""
    for _ in range(3):
        try:
            made.rename(final)
            return
        except OSError as error:
            if error.errno not in {errno.EEXIST, errno.ENOTEMPTY}:
                raise
            if _same_files(made, final):
                return
            old = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
            with suppress(OSError):
                final.rename(old)
            shutil.rmtree(old, ignore_errors=True)
    made.rename(final)


def _same_files(made: Path, final: Path) -> bool:
    record = json.loads((made / _RECORD).read_text(encoding="utf-8"))
    if not (final / _RECORD).is_file():
        return False
    try:
        return all(sha256_of(final / name) == sha for name, sha in record["files"].items())
    except OSError:
        return False


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


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
