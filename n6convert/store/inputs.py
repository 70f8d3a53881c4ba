"""Files and names that users give, read within limits: nothing here hangs, fills memory or raises an odd error."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from n6convert.errors import N6ConvertError, SourceError

__all__ = [
    "exists",
    "is_file",
    "is_folder",
    "leads_outside",
    "no_such_file",
    "occupied",
    "read_json",
    "read_text",
    "user_path",
]

_LARGEST_TEXT = 64 << 20
_DEEPEST = 64


def exists(path: Path) -> bool:
    """Whether something has this name; False for names that no file can have (too long, a null character)."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def is_file(path: Path) -> bool:
    """Whether a regular file has this name; False for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def occupied(path: Path) -> bool:
    """Whether anything has this name, a broken link too; False for names that no file can have."""
    try:
        return os.path.lexists(path)
    except ValueError:  # a null character
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder has this name; False for names that no folder can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def user_path(text: str | Path) -> Path:
    """A path as a shell reads it: ``~`` is the home folder; ``~name`` stays where there is no such user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def leads_outside(folder: Path, name: str) -> bool:
    """Whether a relative name leaves its folder: absolute, with ``..``, or through a link."""
    try:
        top, path = os.path.realpath(folder), os.path.realpath(folder / name)
    except (OSError, ValueError):
        return True
    relative = Path(name)
    return relative.is_absolute() or ".." in relative.parts or path == top or os.path.commonpath([top, path]) != top


def read_text(path: Path, *, largest: int = _LARGEST_TEXT) -> str:
    """A text file in UTF-8.

    Raises:
        OSError: it cannot be read.
        SourceError: no regular file, too large, or not UTF-8.
    """
    if exists(path) and not is_file(path):
        raise SourceError("this is no file", place=path, found="a folder, pipe or device")
    with path.open("rb") as stream:
        data = stream.read(largest + 1)
    if len(data) > largest:
        raise SourceError("the file is too large", place=path, limit=f"{largest:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError("the file is not UTF-8 text", place=path, found=error) from None


def read_json(path: Path, *, largest: int = _LARGEST_TEXT) -> Any:
    """A JSON file, nested no deeper than 64 levels.

    Raises:
        OSError: it cannot be read.
        SourceError: too large, too deep or not JSON.
    """
    text = read_text(path, largest=largest)
    try:
        content = json.loads(text)
        too_deep = any(depth > _DEEPEST for depth in _depths(content))
    except ValueError as error:
        raise SourceError("the file is not JSON", place=path, found=error) from None
    except RecursionError:
        too_deep = True
    if too_deep:
        raise SourceError("the JSON is nested too deeply", place=path, limit=f"{_DEEPEST} levels")
    return content


def _depths(content: Any) -> Iterator[int]:
    pending = [(content, 1)]
    while pending:
        value, depth = pending.pop()
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        if inner and depth <= _DEEPEST:
            pending += [(item, depth + 1) for item in inner]
        yield depth


def no_such_file(path: Path, kind: type[N6ConvertError] = SourceError) -> N6ConvertError:
    """The error for a file that is not there, with the nearest names beside it."""
    from n6convert.naming import nearest

    beside: list[str] = []
    with suppress(OSError, ValueError):  # no folder, or one that may not be listed
        beside = [p.name for p in path.parent.iterdir()]
    close = nearest(path.name, beside)
    return kind("the file does not exist", place=path, remedy=f"did you mean {' or '.join(close)}?" if close else None)
