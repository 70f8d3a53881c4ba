"""One cache entry on disk: read and checked, put in its place, taken out of it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from n6convert.store.hashing import read_sealed, sha256_of
from n6convert.store.inputs import leads_outside, occupied

__all__ = ["RECORD", "clear", "move_in", "move_out", "read_entry"]

#: file that describes an entry
RECORD = "entry.json"


def read_entry(folder: Path, entry: str) -> dict[str, Any] | None:
    """The record of an intact entry: its own seal and place, exactly its files with their hashes, none elsewhere."""
    record = read_sealed(folder / RECORD) if folder.is_dir() and not folder.is_symlink() else None
    if record is None or not _well_formed(record) or record["entry"] != entry:
        return None
    try:
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()}
        there = {name for name in there if not name.startswith(".")}  # what file managers leave
        intact = there == {*record["files"], RECORD} and all(
            not leads_outside(folder, name) and (folder / name).is_file() and sha256_of(folder / name) == sha
            for name, sha in record["files"].items()
        )
    except (OSError, ValueError):
        return None
    return record if intact else None


def _well_formed(record: Mapping[str, Any]) -> bool:
    kinds: dict[str, Any] = {"entry": str, "facts": dict, "files": dict, "seconds": (int, float)}
    return set(record) == set(kinds) and all(isinstance(record[key], kind) for key, kind in kinds.items())


def move_in(made: Path, final: Path, record: Mapping[str, Any]) -> None:
    """Rename a folder into place. A simultaneous run may have been faster: equal results stay, others give way.

    Args:
        made: a folder on the same disk.
        final: its place.
        record: content of ``entry.json``.
    """
    for _ in range(3):
        try:
            made.rename(final)
            return
        except OSError:
            if not occupied(final):
                raise
            there = read_entry(final, record["entry"])
            if there is not None and (there["files"], there["facts"]) == (record["files"], record["facts"]):
                return
            clear(move_out(final, made.parent))
    made.rename(final)


def move_out(path: Path, folder: Path) -> Path:
    """Move something out of its place, into scratch space; where it is now."""
    aside = folder / f"old-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return path.rename(aside)
    except OSError:
        return path


def clear(path: Path) -> None:
    """Remove a file, link or folder, as far as that is possible; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
