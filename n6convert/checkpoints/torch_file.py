"""The zip container of ``torch.save`` (torch 1.6 and later)."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from n6convert.checkpoints.sniff import refuse_foreign, what_is
from n6convert.checkpoints.tensors import Storage, TorchType
from n6convert.checkpoints.unpickler import unpickle
from n6convert.errors import SourceError

__all__ = ["load_torch"]

_MAX_PICKLE = 64 << 20
_UNTYPED = {"uint8": np.dtype(np.uint8)}
_MAX_ENTRIES = 100_000
#: torch stores its members uncompressed; a re-zipped file may be smaller, but weights never shrink this much
_MAX_RATIO = 100


def load_torch(path: Path | str) -> dict[str, Any]:
    """What ``torch.save`` wrote, as containers, numpy arrays and inert records of modules.

    A file that holds something else than a dict gives ``{"model": that}``. Arrays are read-only views that share memory
    where the tensors shared storages; bfloat16 and float8 come as ``ml_dtypes``.

    Raises:
        SourceError: the file is missing, damaged, of another kind, too large, or names code.
    """
    kind = what_is(path)
    if kind != "zip":
        raise refuse_foreign(path, kind)
    try:
        with zipfile.ZipFile(path) as archive:
            tree = _Archive(archive, path).load()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise SourceError(
            "the weights file is truncated or damaged", place=path, found=str(error), remedy="download or copy it again"
        ) from error
    return dict(tree) if isinstance(tree, Mapping) else {"model": tree}


class _Archive:
    """One open file: members by name, storages read once."""

    def __init__(self, archive: zipfile.ZipFile, path: Path | str) -> None:
        self._zip = archive
        self._path = path
        self._storages: dict[tuple[str, str], Storage] = {}
        self._bytes: dict[str, Any] = {}
        self._root = _root(archive, path)
        names = set(archive.namelist())
        order = self._read("byteorder", 16) if f"{self._root}byteorder" in names else b"little"
        self._order = ">" if order.strip() == b"big" else "<"

    def load(self) -> Any:
        return unpickle(self._read("data.pkl", _MAX_PICKLE), self._storage, self._path)

    def _storage(self, pid: Any) -> Storage:
        try:
            tag, kind, key, _, count = pid
            dtype = kind.dtype if isinstance(kind, TorchType) else _UNTYPED[kind]
            size = int(count) * dtype.itemsize
        except (TypeError, ValueError, KeyError) as error:
            raise SourceError("the weights file names a storage of an unknown kind", place=self._path) from error
        if not isinstance(tag, str) or tag != "storage" or not isinstance(key, str):
            raise SourceError("the weights file names a storage of an unknown kind", place=self._path)
        if key not in self._bytes:
            self._bytes[key] = np.frombuffer(self._read(f"data/{key}", None), np.uint8)
        data = self._bytes[key]
        if len(data) < size:
            found = f"{len(data)} bytes instead of {size}"
            raise SourceError(
                "a tensor in the weights file is cut short", place=f"{self._path}: data/{key}", found=found
            )
        return Storage(data, dtype, self._order)

    def _read(self, name: str, limit: int | None) -> bytes:
        place = f"{self._path}: {name}"
        try:
            member = self._zip.getinfo(self._root + name)
        except KeyError as error:
            raise SourceError("a part of the weights file is missing", place=place) from error
        if limit is not None and member.file_size > limit:
            raise SourceError(
                "a part of the weights file is absurdly large", place=place, limit=limit, found=member.file_size
            )
        if member.file_size > _MAX_RATIO * max(member.compress_size, 64):
            found = f"{member.compress_size} bytes that unpack to {member.file_size}"
            raise SourceError("a part of the weights file is compressed beyond belief", place=place, found=found)
        return self._zip.read(member)


def _root(archive: zipfile.ZipFile, path: Path | str) -> str:
    names = archive.namelist()
    if len(names) > _MAX_ENTRIES:
        raise SourceError("the weights file has absurdly many parts", place=path, limit=_MAX_ENTRIES, found=len(names))
    pickles = [n for n in names if n == "data.pkl" or n.endswith("/data.pkl") and n.count("/") == 1]
    if not pickles:
        raise SourceError(
            "the weights file is a zip archive, but not one that torch wrote",
            place=path,
            found=", ".join(names[:4]) or "no members",
            remedy="give the .pt file itself (unpack an archive of several files first)",
        )
    root = pickles[0].removesuffix("data.pkl")
    if f"{root}constants.pkl" in names:
        raise SourceError(
            "the weights file is a TorchScript program, not weights",
            place=path,
            remedy="save the model's state_dict: torch.save(model.state_dict(), 'weights.pt')",
        )
    return root
