"""Torch storages and strided tensors as numpy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError

__all__ = ["DTYPES", "Storage", "TorchType", "rebuild_tensor", "rebuild_tensor_v3"]

#: elements of the largest tensor that is read: well above any weight, well below what would exhaust memory when copied
_MAX_ELEMENTS = 1 << 29


@dataclass(frozen=True)
class TorchType:
    """A torch element type: its numpy counterpart and the storage class that older files name."""

    dtype: np.dtype[Any]
    storage: str | None = None


DTYPES: dict[str, TorchType] = {
    "float64": TorchType(np.dtype("f8"), "DoubleStorage"),
    "float32": TorchType(np.dtype("f4"), "FloatStorage"),
    "float16": TorchType(np.dtype("f2"), "HalfStorage"),
    "bfloat16": TorchType(np.dtype(ml_dtypes.bfloat16), "BFloat16Storage"),
    "int64": TorchType(np.dtype("i8"), "LongStorage"),
    "int32": TorchType(np.dtype("i4"), "IntStorage"),
    "int16": TorchType(np.dtype("i2"), "ShortStorage"),
    "int8": TorchType(np.dtype("i1"), "CharStorage"),
    "uint8": TorchType(np.dtype("u1"), "ByteStorage"),
    "uint16": TorchType(np.dtype("u2")),
    "uint32": TorchType(np.dtype("u4")),
    "uint64": TorchType(np.dtype("u8")),
    "bool": TorchType(np.dtype("?"), "BoolStorage"),
    "complex64": TorchType(np.dtype("c8"), "ComplexFloatStorage"),
    "complex128": TorchType(np.dtype("c16"), "ComplexDoubleStorage"),
    "float8_e4m3fn": TorchType(np.dtype(ml_dtypes.float8_e4m3fn)),
    "float8_e5m2": TorchType(np.dtype(ml_dtypes.float8_e5m2)),
}


@dataclass(frozen=True)
class Storage:
    """The flat bytes of one or more tensors, with the element type the file gives them, if any."""

    data: NDArray[np.uint8]
    dtype: np.dtype[Any]
    byte_order: str = "<"

    def elements(self, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """The bytes as elements of a type."""
        dtype = dtype or self.dtype
        whole = self.data[: len(self.data) // dtype.itemsize * dtype.itemsize]
        if self.byte_order == ">" and dtype.itemsize > 1:
            part = dtype.itemsize // (2 if dtype.kind == "c" else 1)
            whole = whole.reshape(-1, part)[:, ::-1].reshape(-1).copy()
        return whole.view(dtype)


def rebuild_tensor(storage: Storage, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> NDArray[Any]:
    """A read-only view of a storage, as ``torch._utils._rebuild_tensor_v2`` would make it.

    Args:
        storage: the bytes, with their element type.
        offset: of the first element, in elements.
        size: shape.
        stride: elements between neighbors along each axis.

    Raises:
        SourceError: the view leaves its storage or is absurdly large.
    """
    return _view(storage.elements(), offset, size, stride)


def rebuild_tensor_v3(
    storage: Storage,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
    grad: bool,
    hooks: Any,
    kind: TorchType,
    *_: Any,
) -> NDArray[Any]:
    """As :func:`rebuild_tensor`, for element types that have no storage class of their own.

    Args:
        storage: the bytes.
        offset: of the first element, in elements.
        size: shape.
        stride: elements between neighbors along each axis.
        grad: not used.
        hooks: not used.
        kind: element type.
    """
    return _view(storage.elements(kind.dtype), offset, size, stride)


def _view(flat: NDArray[Any], offset: int, size: Sequence[int], stride: Sequence[int]) -> NDArray[Any]:
    size, stride = [int(n) for n in size[:33]], [int(n) for n in stride[:33]]
    bad = len(size) != len(stride) or len(size) > 32 or offset < 0 or min([*size, *stride], default=0) < 0
    count = math.prod(size)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=False))
    if bad or count > _MAX_ELEMENTS or (count and last >= flat.size):
        found = f"shape {size}, strides {stride}, offset {offset} in a storage of {flat.size} elements"
        raise SourceError("a tensor in the weights file does not fit its storage", found=found)
    if not count:
        return np.empty(size, flat.dtype)
    start, steps = offset * flat.itemsize, [s * flat.itemsize for s in stride]
    view: NDArray[Any] = np.ndarray(tuple(size), flat.dtype, buffer=flat, offset=start, strides=tuple(steps))
    view.flags.writeable = False
    return view
