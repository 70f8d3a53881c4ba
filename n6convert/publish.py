"""The output folder: held by one run at a time, changed in whole files, finished when its manifest is there.

Files are replaced one by one and not by swapping the folder, since the folder may be the user's own with other things
in it. ``manifest.json`` goes first and comes back last: a folder without it is not finished, and running again
finishes it from the cache.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from n6convert.cache import sha256_of, write_atomically, writing
from n6convert.errors import OutputError

if TYPE_CHECKING:
    from n6convert.run import Progress

__all__ = ["MANIFEST", "REPORT", "holding", "publish"]

MANIFEST = "manifest.json"
REPORT = "report.json"


@contextmanager
def holding(folder: Path, progress: Progress) -> Iterator[None]:
    """Keep other runs out of an output folder; waits, and says so, while another one holds it.

    Raises:
        OutputError: the folder's parent cannot be written, or the folder is taken by somebody else's files.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder.parent / f".{folder.name}.lock")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists() and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is a file")
        waiting = 0
        while not lock.is_locked:
            try:
                lock.acquire(timeout=1 if waiting else 0)
            except Timeout:
                progress(f"waiting for another run that writes to {folder} (it holds {lock.lock_file})", waiting, None)
                waiting += 1
    try:
        _files_of(folder)
        yield
    finally:
        with suppress(OSError):  # Windows keeps an open file
            Path(lock.lock_file).unlink()
        lock.release()


def publish(
    folder: Path,
    source: Path,
    files: Mapping[str, str],
    report: bytes,
    manifest: bytes,
    draw: Callable[[Path], object] = lambda folder: None,
) -> None:
    """Bring an output folder to the given content.

    Args:
        folder: what the user sees.
        source: where the files lie.
        files: sha256 by relative name.
        report, manifest: content of ``report.json`` and ``manifest.json``.
        draw: writes what is drawn from the report into the folder.

    Raises:
        OutputError: disk full, no permission, or a manifest that is not ours.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        before = _files_of(folder)
        if not _up_to_date(folder, files, manifest):
            (folder / MANIFEST).unlink(missing_ok=True)
            _sweep(folder, {*files, *before})
            for name in files:
                write_atomically(folder / name, source / name)
            for name in before - set(files):
                (folder / name).unlink(missing_ok=True)
        write_atomically(folder / REPORT, report)
        draw(folder)
        write_atomically(folder / MANIFEST, manifest)


def _sweep(folder: Path, names: set[str]) -> None:
    """Remove the unfinished copies of these files that a killed run left behind."""
    for name in [*names, MANIFEST, REPORT]:
        path = folder / name
        for stale in path.parent.glob(f".{escape(path.name)}.*.part"):
            stale.unlink(missing_ok=True)


def _up_to_date(folder: Path, files: Mapping[str, str], manifest: bytes) -> bool:
    try:
        same = (folder / MANIFEST).read_bytes() == manifest
        return same and all(sha256_of(folder / name) == sha for name, sha in files.items())
    except OSError:
        return False


def _files_of(folder: Path) -> set[str]:
    """What an earlier run put there, by its manifest; never a name that leads out of the folder.

    Raises:
        OutputError: the manifest is somebody else's file.
    """
    path = folder / MANIFEST
    if not path.exists():
        return set()
    content: Any = None
    with suppress(OSError, ValueError):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("tool") != "n6convert":
        raise OutputError(
            f"the output folder holds a {MANIFEST} that n6convert did not write", place=path,
            remedy="choose another folder with --output, or move that file away",
        )
    names = {str(entry["path"]) for entry in content["files"]}
    return {n for n in names if not PurePosixPath(n).is_absolute() and ".." not in PurePosixPath(n).parts}
