"""Types of files, by their content."""

from __future__ import annotations

import struct
from contextlib import suppress
from pathlib import Path

from n6convert.errors import SourceError

__all__ = ["refuse_foreign", "what_is"]

_HEAD = 4096
#: start of the pre-1.6 torch format: protocol 2 pickle of the number 0x1950a86a20f9469cfc6c
_LEGACY_TORCH = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"

#: files of weights, and how many of them a message names
_WEIGHTS, _NAMED = (".pt", ".safetensors", ".onnx"), 5

_REMEDIES = {
    "html": (
        "an HTML page, not weights: the download saved a login, license or error page",
        "download the file itself",
    ),
    "lfs": ("a git-LFS pointer, not weights", "run `git lfs pull`, or download the file itself"),
    "torch-legacy": (
        "a torch file of the format before torch 1.6",
        "re-save it once with any newer torch: torch.save(torch.load('old.pt', weights_only=True), 'new.pt')",
    ),
    "tar": ("a tar archive, not a torch file", "unpack it and give the file inside"),
    "gzip": ("a gzip file, not weights", "unpack it and give the file inside"),
    "pickle": ("a bare pickle, which is a program and not a weights file", "save with torch.save or as .safetensors"),
    "hdf5": ("an HDF5 file (Keras weights?)", "give a .pt, .safetensors or .onnx file"),
    "empty": ("empty", "download or copy it again"),
    "unknown": ("of no kind that n6convert can read", "give a .pt, .safetensors or .onnx file"),
}


def what_is(path: Path | str) -> str:
    """Kind of a file by its content: ``zip``, ``safetensors``, ``html``, ``lfs``, ``torch-legacy``, ``tar``, ``gzip``,
    ``pickle``, ``hdf5``, ``empty`` or ``unknown``.

    Raises:
        SourceError: the file is missing, a folder, or unreadable.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except IsADirectoryError as error:
        raise _folder(path) from error
    except FileNotFoundError as error:
        raise SourceError("the weights file does not exist", place=path, remedy="check the path") from error
    except OSError as error:
        raise SourceError("the weights file cannot be read", place=path, found=error.strerror) from error
    return _kind(head, path.stat().st_size)


def refuse_foreign(path: Path | str, kind: str) -> SourceError:
    """The error that explains why a file of this kind cannot be used as weights."""
    what, remedy = _REMEDIES.get(kind, _REMEDIES["unknown"])
    return SourceError(f"the weights file is {what}", place=path, remedy=remedy)


def _folder(path: Path) -> SourceError:
    inside: list[str] = []
    with suppress(OSError):  # a folder that may not be read
        inside = sorted(p.name for p in path.iterdir() if p.suffix in _WEIGHTS)
    named = ", ".join(inside[:_NAMED]) + (f" and {len(inside) - _NAMED} more" if len(inside) > _NAMED else "")
    found = named or f"no {', '.join(_WEIGHTS)} in it"
    return SourceError(
        "weights must be a file, this is a folder", place=path, found=found, remedy="give the path of the file itself"
    )


def _kind(head: bytes, size: int) -> str:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "empty"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return "zip"
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        return "html"
    if head.startswith(b"version https://git-lfs"):
        return "lfs"
    if head.startswith(_LEGACY_TORCH):
        return "torch-legacy"
    return _binary_kind(head, size)


def _binary_kind(head: bytes, size: int) -> str:
    # first: the size of its header, with which it begins, may have any bytes
    if head[8:9] == b"{" and struct.unpack("<Q", head[:8])[0] <= size - 8:
        return "safetensors"
    for magic, kind in ((b"\x1f\x8b", "gzip"), (b"\x89HDF\r\n", "hdf5"), (b"\x80", "pickle")):
        if head.startswith(magic):
            return kind
    return "tar" if head[257:262] == b"ustar" else "unknown"
