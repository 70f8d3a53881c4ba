"""Whose file is it: what n6convert wrote is replaced, what somebody else wrote is kept.

Folders of runs are told by their manifest (:mod:`n6convert.pipeline.publish`); single files carry a mark.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from n6convert.errors import OutputError, UsageError
from n6convert.store.cache import write_atomically
from n6convert.store.inputs import is_file, occupied

__all__ = ["MODEL", "PAGE", "RANGES", "TABLE", "listed", "refuse_loss", "write_record"]

#: marks by which files of ours are known: a footer, ONNX's producer_name (field 2), a format, a line of names
PAGE = b"Written by n6convert"
MODEL = b"\x12\x09n6convert"
RANGES = b'"format": "n6convert ranges'
TABLE = b",interval_low,interval_high,front"


def refuse_loss(path: Path, mark: bytes, *, inputs: Iterable[Path] = (), force: bool = False) -> None:
    """Refuse to replace a file that n6convert did not write, and any file that is being read.

    Args:
        path: what is about to be written.
        mark: what a file of ours holds.
        inputs: files that the command reads; ``force`` does not help against them.
        force: replace whatever is there.

    Raises:
        UsageError: the output is one of the inputs.
        OutputError: somebody else's file is there.
    """
    if not occupied(path) or (path.is_dir() and not path.is_symlink()):
        return  # what cannot be replaced by a file is not lost: writing says so
    for source in inputs:
        if _same_file(source, path):
            raise UsageError(
                "the output would replace the input", place=path, remedy="choose another file with --output"
            )
    if not force and not _is_ours(path, mark):
        raise OutputError(
            "a file that n6convert did not write is in the way",
            place=path,
            found="it would be lost",
            remedy="choose another file with --output, or move that one away",
        )


def write_record(path: Path, names: Collection[str]) -> None:
    """List files as ours, in the form of a manifest."""
    content = {"tool": "n6convert", "files": [{"path": name} for name in sorted(names)]}
    write_atomically(path, json.dumps(content, indent=1).encode())


def listed(path: Path) -> set[str] | None:
    """The files that a manifest lists; None when it is none of ours, or damaged."""
    content: Any = None
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("tool") != "n6convert":
        return None
    files = content.get("files")
    if not isinstance(files, list) or not all(isinstance(f, dict) and isinstance(f.get("path"), str) for f in files):
        return None
    return {file["path"] for file in files}


def _same_file(source: Path, path: Path) -> bool:
    """Whether both names are of one file; what is read may be no file, as the name of a model is none."""
    try:
        return os.path.realpath(source) == os.path.realpath(path) or source.samefile(path)
    except (OSError, ValueError):
        return False


def _is_ours(path: Path, mark: bytes) -> bool:
    if not is_file(path):
        return False  # reading a pipe would wait for whoever writes into it
    try:
        with path.open("rb") as stream:
            if mark == MODEL:
                return mark in stream.read(64)
            return mark in stream.read()
    except OSError:
        return False
