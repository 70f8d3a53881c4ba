"""The output folder: held by one run at a time, changed in whole files, finished when its manifest is there.

Files are replaced one by one and not by swapping the folder, since the folder may be the user's own with other things
in it. ``manifest.json`` goes first and comes back last: a folder without it is not finished, and running again
finishes it from the cache. Meanwhile ``.n6convert-unfinished.json`` says which files are ours; a file that neither
lists is somebody else's and is never replaced, unless the user says so.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.errors import OutputError
from n6convert.store.cache import os_errors, sha256_of, write_all, write_atomically
from n6convert.store.inputs import leads_outside, occupied
from n6convert.store.locks import lock_at
from n6convert.store.outputs import listed, write_record

if TYPE_CHECKING:
    from n6convert.pipeline.run import Progress

__all__ = ["EVERY_PACKAGE", "MANIFEST", "PAGE", "REPORT", "holding", "publish"]

MANIFEST = "manifest.json"
REPORT = "report.json"
PAGE = "report.html"
_UNFINISHED = ".n6convert-unfinished.json"
#: what every package holds, besides its model: known before hours of work
EVERY_PACKAGE = (
    REPORT,
    PAGE,
    "README.md",
    "generate.sh",
    "generate.bat",
    "stedgeai.json",
    "user_neuralart.json",
)


@contextmanager
def holding(folder: Path, progress: Progress, *, expected: Collection[str] = (), force: bool = False) -> Iterator[None]:
    """Keep other runs out of an output folder; waits, and says so, while another one holds it.

    Args:
        folder: under any spelling; two that lead to one folder wait for each other.
        progress: told about waiting.
        expected: names that are going to be written.
        force: also over somebody else's files.

    Raises:
        OutputError: the folder's parent cannot be written, or the folder is taken by somebody else's files.
    """
    from filelock import Timeout

    folder = Path(os.path.realpath(folder))
    name = unicodedata.normalize("NFC", folder.name).casefold()  # some file systems hold OUT and out for one
    path = folder.parent / f".{name}.lock"
    with os_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        if occupied(folder) and not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder")
        lock = lock_at(path)
        waiting = 0
        while not lock.is_locked:
            try:
                lock.acquire(timeout=1 if waiting else 0)
            except Timeout:
                progress(f"waiting for another run that writes to {folder} (it holds {lock.lock_file})", waiting, None)
                waiting += 1
    try:
        _reject_foreign(folder, expected, _files_of(folder, force), force)
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
    *,
    force: bool = False,
) -> None:
    """Bring an output folder to the given content.

    Args:
        folder: what the user sees.
        source: where the files lie.
        files: sha256 by relative name.
        report, manifest: content of ``report.json`` and ``manifest.json``.
        draw: writes ``report.html`` from the report into the folder.
        force: replace files that are not ours.

    Raises:
        OutputError: disk full, no permission, or a file in the way that is not ours.
    """
    with os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        before = _files_of(folder, force)
        if not _up_to_date(folder, files, manifest):
            _reject_foreign(folder, [*files, REPORT, PAGE], before, force)
            write_record(folder / _UNFINISHED, {*files, *before})
            (folder / MANIFEST).unlink(missing_ok=True)
            _sweep(folder, {*files, *before})
            write_all({folder / name: source / name for name in files})
            for name in before - {*files, REPORT, PAGE}:
                (folder / name).unlink(missing_ok=True)
        write_atomically(folder / REPORT, report)
        draw(folder)
        write_atomically(folder / MANIFEST, manifest)
        (folder / _UNFINISHED).unlink(missing_ok=True)


def _sweep(folder: Path, names: set[str]) -> None:
    """Remove the unfinished copies of these files that a killed run left behind."""
    for name in [*names, MANIFEST, REPORT, PAGE, _UNFINISHED]:
        path = folder / name
        for stale in path.parent.glob(f".{escape(path.name)}.*.part"):
            stale.unlink(missing_ok=True)


def _up_to_date(folder: Path, files: Mapping[str, str], manifest: bytes) -> bool:
    try:
        same = (folder / MANIFEST).read_bytes() == manifest
        return same and all(sha256_of(folder / name) == sha for name, sha in files.items())
    except OSError:
        return False


def _reject_foreign(folder: Path, names: Collection[str], ours: Collection[str], force: bool) -> None:
    """Raise OutputError for the files in the way that are not ours, and for links that lead out of the folder."""
    for name in names:
        within = Path(name).parent
        if within.parts and leads_outside(folder, str(within)):
            raise OutputError("a link in the output folder leads out of it", place=folder / name,
                              remedy="remove the link, or choose another folder with --output")  # fmt: skip
    foreign = [] if force else [name for name in names if name not in ours and occupied(folder / name)]
    if foreign:
        raise OutputError(
            "files that n6convert did not write are in the way",
            place=folder,
            found=", ".join(sorted(foreign)),
            limit="an empty folder, or one of an earlier run",
            remedy="choose another folder with --output, or replace them with --force",
        )


def _files_of(folder: Path, force: bool = False) -> set[str]:
    """What earlier runs put there, by manifest and unfinished publication; never a name that leads out of the folder.

    Raises:
        OutputError: the manifest is somebody else's file.
    """
    found: set[str] = set()
    for record in (MANIFEST, _UNFINISHED):
        if not occupied(folder / record):
            continue
        names = listed(folder / record)
        if names is None and record == MANIFEST and not force:
            raise OutputError(
                f"the output folder holds a {MANIFEST} that n6convert did not write",
                place=folder / MANIFEST,
                remedy="choose another folder with --output, move that file away, or replace it with --force",
            )
        if names is not None:
            found |= {*names, REPORT, PAGE}
    return {name for name in found if not leads_outside(folder, name)}
