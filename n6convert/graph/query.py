"""Asking about nodes and values: shapes, constants, attributes, producers and users."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

__all__ = [
    "attribute",
    "constant_of",
    "grid",
    "inverse_of",
    "is_constant",
    "is_float",
    "may_be_float",
    "operand",
    "place_of",
    "producer",
    "reduced_axes",
    "scalar_of",
    "shape_of",
    "single_use",
    "users",
]

Array = NDArray[Any]
_GRID_WIDTH = 16


def shape_of(value: ir.Value | None) -> tuple[int, ...] | None:
    """The static shape, None when unknown or dynamic."""
    if value is None or value.shape is None:
        return None
    dims = value.shape.dims
    return dims if all(type(d) is int for d in dims) else None  # type: ignore[return-value]


def is_float(value: ir.Value | None) -> bool:
    """True for a float32 tensor."""
    return value is not None and value.dtype == ir.DataType.FLOAT


def may_be_float(value: ir.Value | None) -> bool:
    """Whether the value is a float32 tensor, or of unknown type."""
    return value is not None and value.dtype in (None, ir.DataType.FLOAT)


def is_constant(value: ir.Value | None) -> bool:
    """Whether the value is an initializer."""
    return value is not None and value.const_value is not None and value.producer() is None


def constant_of(value: ir.Value | None) -> Array | None:
    """The array of an initializer or Constant node, None for an activation."""
    tensor = None if value is None or value.is_graph_input() else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def scalar_of(value: ir.Value | None) -> float | None:
    """The number of a one-element constant."""
    array = constant_of(value)
    return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None


def inverse_of(values: Array) -> Array | None:
    """1 / values in float32; None where that is infinite for one of them."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.asarray(1 / values, np.float32)
    return inverse if np.isfinite(inverse).all() else None


def producer(value: ir.Value | None, *kinds: str) -> ir.Node | None:
    """The node that makes a value, when its operator is one of ``kinds`` (any without)."""
    node = None if value is None else value.producer()
    if node is None or node.domain not in ("", "ai.onnx"):
        return None
    return node if not kinds or node.op_type in kinds else None


def place_of(node: ir.Node) -> str:
    """What a message calls a node: its name, where it has one, and what it writes."""
    written = ", ".join(v.name for v in node.outputs if v.name)
    return f"node {node.name}, tensor {written}" if node.name else f"tensor {written}"


def users(value: ir.Value) -> tuple[ir.Node, ...]:
    """Nodes that read a value, once each."""
    return tuple(dict.fromkeys(value.consumers()))


def single_use(value: ir.Value) -> bool:
    """True when exactly one edge reads the value and it is no output of the graph."""
    return len(tuple(value.uses())) == 1 and not value.is_graph_output()


def attribute(node: ir.Node, name: str, default: Any = None) -> Any:
    """An attribute's plain Python value.

    Args:
        node: any node.
        name: of the attribute.
        default: what an absent one stands for.
    """
    found = node.attributes.get(name)
    if found is None:
        return default
    value = found.value
    return list(value) if isinstance(value, tuple) else value


def reduced_axes(node: ir.Node, rank: int) -> list[int] | None:
    """The axes that a reduction of so many axes names, counted from the front, in order.

    None where it names none, which may mean all of them, or computes them.
    """
    as_input = len(node.inputs) > 1 and node.inputs[1] is not None
    given = constant_of(node.inputs[1]) if as_input else attribute(node, "axes")
    return None if given is None else sorted(int(a) % rank for a in np.asarray(given).reshape(-1))


def operand(node: ir.Node, *, constant: bool) -> tuple[ir.Value, ir.Value] | None:
    """(activation, other) of a two-input node; ``constant`` says whether the other must be one."""
    if len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return None
    for a, b in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        if constant_of(a) is None and (constant_of(b) is not None) == constant:
            return a, b
    return None


def broadcast_shape(*shapes: Sequence[int]) -> tuple[int, ...]:
    """Shape of an elementwise operator's output."""
    return tuple(int(d) for d in np.broadcast_shapes(*[tuple(s) for s in shapes]))


def elements(shape: Sequence[int]) -> int:
    """Number of elements."""
    return math.prod(shape)


def grid(rows: int) -> tuple[int, int]:
    """(height, width) of the map that stands for rows.

    Narrow, because a Conv of more than 512 outputs streams its vectors once for every column ([#wide-layers]).
    """
    width = max(d for d in range(1, _GRID_WIDTH + 1) if rows % d == 0)
    return rows // width, width
