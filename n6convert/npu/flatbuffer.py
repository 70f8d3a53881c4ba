"""Bounds-checked reading of FlatBuffers tables: as much as a TFLite file needs, without a generated schema.

Every offset is verified against the file's length, so a truncated or fuzzed file ends in a :class:`GraphError`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError

__all__ = ["Table", "root"]

_FORMATS = {"bool": "<?", "i8": "<b", "u8": "<B", "u16": "<H", "i32": "<i", "u32": "<I", "i64": "<q", "f32": "<f"}


def _unpack(data: bytes, kind: str, at: int) -> int | float | bool:
    form = _FORMATS[kind]
    if at < 0 or at + struct.calcsize(form) > len(data):
        raise GraphError("the TFLite file is truncated or damaged", found=f"an offset {at} in {len(data)} bytes")
    value: int | float | bool = struct.unpack_from(form, data, at)[0]
    return value


def root(data: bytes, identifier: bytes) -> Table:
    """The root table of a file with the four-byte ``identifier``; :class:`GraphError` when it is another kind."""
    if len(data) < 8 or data[4:8] != identifier:
        raise GraphError("not a TFLite file", limit=f"bytes 4..8 are {identifier!r}", found=repr(data[4:8]))
    return Table(data, int(_unpack(data, "u32", 0)))


@dataclass(frozen=True, slots=True)
class Table:
    """One table: fields are addressed by their index in the schema; an absent field reads as its default."""

    data: bytes
    at: int

    def _field(self, index: int) -> int:
        vtable = self.at - int(_unpack(self.data, "i32", self.at))
        slot = 4 + 2 * index
        if slot + 2 > int(_unpack(self.data, "u16", vtable)):
            return 0
        offset = int(_unpack(self.data, "u16", vtable + slot))
        return self.at + offset if offset else 0

    def integer(self, index: int, kind: str = "i32", default: int = 0) -> int:
        """A scalar field as an integer.

        Args:
            index: of the field.
            kind: its type: ``i8``, ``u16``, ``i32`` and so on, or ``bool``.
            default: what an absent field stands for.
        """
        at = self._field(index)
        return int(_unpack(self.data, kind, at)) if at else default

    def flag(self, index: int) -> bool:
        """A boolean field, False when absent."""
        return bool(self.integer(index, "bool"))

    def real(self, index: int) -> float:
        """A float field, 0 when absent."""
        at = self._field(index)
        return float(_unpack(self.data, "f32", at)) if at else 0.0

    def table(self, index: int) -> Table | None:
        """A nested table, None when absent."""
        at = self._field(index)
        return Table(self.data, at + int(_unpack(self.data, "u32", at))) if at else None

    def _vector(self, index: int) -> tuple[int, int]:
        at = self._field(index)
        if not at:
            return 0, 0
        start = at + int(_unpack(self.data, "u32", at))
        return start + 4, int(_unpack(self.data, "u32", start))

    def tables(self, index: int) -> Iterator[Table]:
        """A vector of tables."""
        start, count = self._vector(index)
        for at in range(start, start + 4 * count, 4):
            yield Table(self.data, at + int(_unpack(self.data, "u32", at)))

    def array(self, index: int, dtype: str) -> NDArray[np.generic]:
        """A vector of numbers as a numpy array of ``dtype`` (a view of the file)."""
        start, count = self._vector(index)
        kind = np.dtype(dtype)
        if start + count * kind.itemsize > len(self.data):
            raise GraphError("the TFLite file is truncated or damaged", found=f"a vector of {count} items at {start}")
        return np.frombuffer(self.data, kind, count, start) if count else np.zeros(0, kind)

    def text(self, index: int) -> str:
        """A string field, empty when absent."""
        return self.array(index, "u1").tobytes().decode("utf-8", "replace")
