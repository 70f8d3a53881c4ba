"""Sizes that a TFLite file leaves open although they follow from its input: found by following the numbers.

Keras writes a layer on three axes as a product of two, and has the file compute the sizes of both: SHAPE, GATHER,
REDUCE_PROD, PACK. With a batch of 1 all of them are constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.npu.tflite_file import TFLiteFile, TFLiteOperator

__all__ = ["settle_sizes"]

Array = NDArray[Any]
_INTEGERS = ("int32", "int64")
#: operators whose result is as large as their operands repeated against each other
_ELEMENTWISE = frozenset(
    {
        "ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "RELU", "RELU6", "GELU", "TANH", "LOGISTIC", "HARD_SWISH",
        "ELU", "LEAKY_RELU", "PRELU", "QUANTIZE", "DEQUANTIZE", "CAST", "SQUARED_DIFFERENCE", "RSQRT", "SQRT", "NEG",
    }
)  # fmt: skip


def settle_sizes(file: TFLiteFile) -> None:
    """Replace open sizes of a file, and integer operators that only compute sizes, in place, as far as they are known.

    Files without open sizes stay as they are.
    """
    if not any(size < 0 for tensor in file.tensors.values() for size in tensor.shape):
        return
    changed: set[str] = set()
    kept = []
    for op in file.operators:
        number = _number(file, op)
        if number is not None:
            _store(file, op.outputs[0], number)
            continue
        kept.append(op)
        shape = _shape(file, op, changed)
        if shape is not None and shape != file.tensors[op.outputs[0]].shape:
            file.tensors[op.outputs[0]].shape = shape
            changed.add(op.outputs[0])
    file.operators[:] = kept


def _number(file: TFLiteFile, op: TFLiteOperator) -> Array | None:
    """The constant that an operator on sizes makes; None for other operators."""
    if len(op.outputs) != 1 or op.outputs[0] in file.outputs or file.tensors[op.outputs[0]].dtype not in _INTEGERS:
        return None
    if op.kind == "SHAPE":
        shape = file.tensors[op.inputs[0]].shape
        return None if any(size < 0 for size in shape) else np.array(shape, np.int64)
    given = [file.values.get(name) for name in op.inputs]
    known = [value for value in given if value is not None]
    make = _MAKERS.get(op.kind)
    return make(op, known) if make is not None and len(known) == len(given) else None


def _strided(op: TFLiteOperator, values: list[Array]) -> Array | None:
    x, start, stop, step = values
    masks = [op.option(index) for index in range(5)]
    if x.ndim != 1 or masks[2] or masks[3]:
        return None
    if masks[4]:
        return np.asarray(x[int(start[0])])
    return x[None if masks[0] else int(start[0]) : None if masks[1] else int(stop[0]) : int(step[0])]


_MAKERS: dict[str, Callable[[TFLiteOperator, list[Array]], Array | None]] = {
    "GATHER": lambda op, v: np.take(v[0], v[1], axis=op.option(0)),
    "REDUCE_PROD": lambda op, v: np.prod(
        v[0], axis=tuple(v[1].ravel().tolist()), keepdims=op.options is not None and op.options.flag(0)
    ),
    "PACK": lambda op, v: np.stack(v, axis=op.option(1)),
    "CONCATENATION": lambda op, v: np.concatenate(v, axis=op.option(0)),
    "STRIDED_SLICE": _strided,
    "ADD": lambda op, v: v[0] + v[1],
    "SUB": lambda op, v: v[0] - v[1],
    "MUL": lambda op, v: v[0] * v[1],
    "CAST": lambda op, v: v[0],
    "RESHAPE": lambda op, v: v[0].reshape(v[1]),
    "EXPAND_DIMS": lambda op, v: np.expand_dims(v[0], int(v[1])),
}


def _store(file: TFLiteFile, name: str, number: Array) -> None:
    tensor = file.tensors[name]
    file.values[name] = np.asarray(number, np.dtype(tensor.dtype))
    tensor.shape, tensor.constant = tuple(int(n) for n in np.shape(number)), True


def _shape(file: TFLiteFile, op: TFLiteOperator, changed: set[str]) -> tuple[int, ...] | None:
    """The shape of an operator's result, where an open or a corrected size decides it."""
    known = [file.tensors[name].shape for name in op.inputs if name]
    if op.kind == "RESHAPE" and len(op.inputs) > 1 and (to := file.values.get(op.inputs[1])) is not None:
        return _filled([int(n) for n in to], None if min(known[0], default=1) < 0 else math.prod(known[0]))
    if changed.isdisjoint(op.inputs) or any(size < 0 for shape in known for size in shape):
        return None
    if op.kind == "FULLY_CONNECTED":
        keeps = op.options is not None and op.options.flag(2)
        rows = known[0][:-1] if keeps else (math.prod(known[0]) // known[1][1],)
        return (*rows, known[1][0])
    return tuple(np.broadcast_shapes(*known)) if op.kind in _ELEMENTWISE else None


def _filled(to: list[int], elements: int | None) -> tuple[int, ...] | None:
    """A shape with its one open size, of so many elements; None where that does not follow."""
    rest = math.prod(n for n in to if n != -1)
    if -1 in to and (elements is None or not rest or to.count(-1) > 1):
        return None
    return tuple((elements or 0) // rest if n == -1 else n for n in to)
