"""Writes TFLite files of a few operators with the fields of the schema: reading them needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

from n6convert.npu.tflite_file import OPERATORS

CODES = {name: code for code, name in OPERATORS.items()}
TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9}
Option = tuple[str, Any]
"""Kind of a field (``i8``, ``i32``, ``f32``, ``bool``) and its value."""


@dataclass
class LiteWriter:
    """Tensors in the order in which they are declared; operators in that of their execution."""

    tensors: list[dict[str, Any]] = field(default_factory=list)
    operators: list[tuple[str, list[int], list[int], Mapping[int, Option] | bytes]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)

    def tensor(self, name: str, shape: Sequence[int], dtype: str = "float32", **more: Any) -> int:
        """Declare one; ``scales``, ``zeros`` and ``axis`` quantize it, ``signature`` leaves sizes open."""
        self.tensors.append({"name": name, "shape": list(shape), "dtype": dtype, **more})
        return len(self.tensors) - 1

    def constant(self, name: str, value: NDArray[Any], **more: Any) -> int:
        """A tensor with its values."""
        return self.tensor(name, value.shape, str(value.dtype), data=value.tobytes(), **more)

    def op(
        self,
        kind: str,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options: Mapping[int, Option] | bytes | None = None,
    ) -> None:
        """Append an operator; a kind that the schema does not have is a custom one, whose options are bytes."""
        self.operators.append((kind, list(inputs), list(outputs), options or {}))

    def content(self) -> bytes:
        """The file."""
        b = flatbuffers.Builder(1024)
        buffers = [b""] + [t["data"] for t in self.tensors if "data" in t]
        kinds = list(dict.fromkeys(kind for kind, *_ in self.operators))
        parts = [self._buffer(b, data) for data in buffers]
        tables = [self._tensor(b, t, self._buffer_index(i)) for i, t in enumerate(self.tensors)]
        ops = [self._operator(b, kinds.index(kind), i, o, options) for kind, i, o, options in self.operators]
        graph = _table(b, {0: _offsets(b, tables), 1: _ints(b, self.inputs), 2: _ints(b, self.outputs),
                           3: _offsets(b, ops)})  # fmt: skip
        codes = _offsets(b, [self._code(b, kind) for kind in kinds])
        graphs, stored = _offsets(b, [graph]), _offsets(b, parts)
        b.Finish(_table(b, {1: codes, 2: graphs, 4: stored}, {0: ("i32", 3)}), file_identifier=b"TFL3")
        return bytes(b.Output())

    def write(self, path: Path) -> Path:
        """Write the file."""
        path.write_bytes(self.content())
        return path

    def _buffer_index(self, index: int) -> int:
        return sum("data" in t for t in self.tensors[: index + 1]) if "data" in self.tensors[index] else 0

    @staticmethod
    def _buffer(b: flatbuffers.Builder, data: bytes) -> int:
        return _table(b, {0: b.CreateByteVector(data)} if data else {})

    @staticmethod
    def _tensor(b: flatbuffers.Builder, t: Mapping[str, Any], buffer: int) -> int:
        fields = {0: _ints(b, t["shape"]), 3: b.CreateString(t["name"])}
        if "scales" in t:
            scales = b.CreateNumpyVector(np.asarray(t["scales"], np.float32))
            zeros = b.CreateNumpyVector(np.asarray(t.get("zeros", [0] * len(t["scales"])), np.int64))
            fields[4] = _table(b, {2: scales, 3: zeros}, {6: ("i32", t.get("axis", 0))})
        if "signature" in t:
            fields[7] = _ints(b, t["signature"])
        if t.get("sparse"):
            fields[6] = _table(b, {})
        return _table(b, fields, {1: ("i8", TYPES[t["dtype"]]), 2: ("u32", buffer)})

    @staticmethod
    def _operator(
        b: flatbuffers.Builder, code: int, inputs: list[int], outputs: list[int], options: Mapping[int, Option] | bytes
    ) -> int:
        own = {5: b.CreateByteVector(options)} if isinstance(options, bytes) else {4: _table(b, {}, options)}
        fields = {1: _ints(b, inputs), 2: _ints(b, outputs)} | own
        return _table(b, fields, {0: ("u32", code)})

    @staticmethod
    def _code(b: flatbuffers.Builder, kind: str) -> int:
        number = CODES.get(kind, CODES["CUSTOM"])
        fields = {} if kind in CODES else {1: b.CreateString(kind)}
        return _table(b, fields, {0: ("i8", min(number, 127)), 3: ("i32", number)})


_SLOTS = {"i8": "Int8", "i32": "Int32", "u32": "Uint32", "f32": "Float32", "bool": "Bool"}


def _table(b: flatbuffers.Builder, offsets: Mapping[int, int], scalars: Mapping[int, Option] | None = None) -> int:
    scalars = scalars or {}
    b.StartObject(max([*offsets, *scalars], default=-1) + 1)
    for index, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(index, offset, 0)
    for index, (kind, value) in scalars.items():
        getattr(b, f"Prepend{_SLOTS[kind]}Slot")(index, value, 0)
    return int(b.EndObject())


def _ints(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    return int(b.CreateNumpyVector(np.asarray(values, np.int32)))


def _offsets(b: flatbuffers.Builder, values: Sequence[int]) -> int:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependUOffsetTRelative(value)
    return int(b.EndVector())
