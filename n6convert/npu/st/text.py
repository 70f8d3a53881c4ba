"""Reading what other programs wrote: gzip or plain, wrapped by CubeMX or not, in any encoding, within limits."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from n6convert.errors import SourceError

__all__ = ["MAX_BYTES", "complaints", "read_bytes", "read_json", "read_lines", "strip_comments"]

MAX_BYTES = 256 * 1024 * 1024
"""Largest unpacked file that is read: the c_info of the biggest published network has 5 MB."""

_COMPLAINT = re.compile(r"ERROR|E\d{3}\(|Unfeasible|NOT IMPLEMENTED|signo=|left unallocated|Traceback|Error calling")
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d+ \[\w+\] \w+:\d+ - ?")
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def read_bytes(path: str | Path) -> bytes:
    """The file's bytes, gunzipped when needed.

    Raises:
        SourceError: missing, unreadable, damaged gzip, or larger than MAX_BYTES when unpacked.
    """
    path = Path(path)
    try:
        with path.open("rb") as handle:
            packed = handle.read(2) == b"\x1f\x8b"
            handle.seek(0)
            data = gzip.GzipFile(fileobj=handle).read(MAX_BYTES + 1) if packed else handle.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise SourceError("the file does not exist", place=path) from None
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError("the file cannot be read", place=path, found=error, remedy="copy it again") from error
    if len(data) > MAX_BYTES:
        raise SourceError("the file is too large for a compiler report", place=path, limit=f"{MAX_BYTES} bytes")
    return data


def read_lines(path: str | Path) -> list[str]:
    """Text lines without terminal colors, CubeMX log prefixes and non-breaking spaces."""
    text = read_bytes(path).decode("utf-8", errors="replace").replace("\xa0", " ")
    return [_LOG_PREFIX.sub("", _ANSI.sub("", line)).rstrip() for line in text.splitlines()]


def complaints(lines: Iterable[str], most: int = 3) -> str:
    """The last lines in which ST's tools say what went wrong ([#import]), joined; empty when there are none."""
    return " | ".join([line.strip() for line in lines if _COMPLAINT.search(line)][-most:])[:600]


def read_json(path: str | Path, *, comments: bool = False) -> Any:
    """Parsed JSON; ``comments`` allows ``//`` comments as in user_neuralart.json ([#files]).

    Raises:
        SourceError: not JSON, or cut off.
    """
    text = read_bytes(path).decode("utf-8", errors="replace")
    try:
        return json.loads(strip_comments(text) if comments else text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise SourceError(
            "the file is not complete JSON", place=path, found=error, remedy="it may be truncated: copy it again"
        ) from error


def strip_comments(text: str) -> str:
    """Remove ``//`` comments outside of strings."""
    return re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*', lambda match: match.group(1) or "", text)
