"""Finding LayerNorm and RMSNorm, as one operator or spelled out as exporters do."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from n6convert.rewrites.build import Builder
from n6convert.rewrites.graph import Array, attribute, constant_of, grid, operand, producer, scalar_of, shape_of

__all__ = ["Norm", "find_norm"]


@dataclass
class Norm:
    """``gamma * (x - mean) / sqrt(var + epsilon) + beta`` over one axis: the last, or the channels of [1, C, ...]."""

    x: ir.Value
    axis: int
    epsilon: float
    centred: bool = True
    gamma: Array | float = 1.0
    beta: Array | float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.x) or ()

    @property
    def channels(self) -> int:
        return self.shape[self.axis]

    @property
    def rows(self) -> int:
        return math.prod(self.shape) // self.channels

    def to_channel_first(self, build: Builder) -> ir.Value:
        """x as [1, D, h, w], h * w the rows."""
        to = [1, self.channels, *grid(self.rows)]
        return build.reshape(self.x, to) if self.axis == 1 else build.swap(self.x, self.rows, to)

    def from_channel_first(self, build: Builder, y: ir.Value) -> ir.Value:
        """[1, D, h, w] in the shape of x."""
        return build.reshape(y, self.shape) if self.axis == 1 else build.swap(y, self.channels, self.shape)


def find_norm(node: ir.Node) -> Norm | None:
    """The normalization that ends in ``node``; the longest form, so scale and shift are taken along."""
    if node.op_type in ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"):
        return _operator(node)
    if _continues(node):
        return None
    return _shifted(node) or _scaled(node) or _bare(node)


def _operator(node: ir.Node) -> Norm | None:
    x, full = node.inputs[0], shape_of(node.inputs[0])
    axis = attribute(node, "axis", -1)
    if x is None or full is None or axis not in (-1, len(full) - 1) or any(v.uses() for v in node.outputs[1:]):
        return None
    gamma = constant_of(node.inputs[1])
    beta = constant_of(node.inputs[2]) if len(node.inputs) > 2 else None
    if gamma is None or (len(node.inputs) > 2 and node.inputs[2] is not None and beta is None):
        return None
    epsilon = attribute(node, "epsilon", 1e-5)
    return Norm(x, len(full) - 1, epsilon, node.op_type == "LayerNormalization", gamma, beta)


def _continues(node: ir.Node) -> bool:
    """True when the only reader would take this node in as the inner part of a longer form."""
    readers = list(node.outputs[0].consumers())
    if len(readers) != 1 or node.outputs[0].is_graph_output():
        return False
    reader = readers[0]
    longer = _shifted(reader) or _scaled(reader)
    return longer is not None


def _shifted(node: ir.Node) -> Norm | None:
    if node.op_type != "Add":
        return None
    pair = operand(node, constant=True)
    inner = None if pair is None else _inner(pair[0])
    values = None if pair is None or inner is None else _along(inner, pair[1])
    return None if inner is None or values is None else replace(inner, beta=values)


def _inner(value: ir.Value) -> Norm | None:
    node = producer(value)
    return None if node is None else _scaled(node) or _bare(node)


def _scaled(node: ir.Node) -> Norm | None:
    if node.op_type != "Mul":
        return None
    pair = operand(node, constant=True)
    maker = None if pair is None else producer(pair[0])
    inner = None if maker is None else _bare(maker)
    values = None if pair is None or inner is None else _along(inner, pair[1])
    return None if inner is None or values is None else replace(inner, gamma=values)


def _along(norm: Norm, other: ir.Value) -> Array | None:
    """A constant that varies along the normalized axis only, as [D] or one number."""
    values = constant_of(other)
    if values is None or values.ndim > len(norm.shape):
        return None
    padded = values.reshape(*[1] * (len(norm.shape) - values.ndim), *values.shape)
    return values.reshape(-1) if padded.shape[norm.axis] == values.size else None


def _bare(node: ir.Node) -> Norm | None:
    """``c / Sqrt(mean(c*c) + eps)`` or ``c * Reciprocal(...)``."""
    root: ir.Node | None = None
    if node.op_type == "Div":
        c, root = node.inputs[0], producer(node.inputs[1], "Sqrt")
    elif node.op_type == "Mul":
        c, root = _times_reciprocal(node)
    else:
        return None
    summed = None if root is None else producer(root.inputs[0], "Add")
    pair = None if summed is None else operand(summed, constant=True)
    epsilon = None if pair is None else scalar_of(pair[1])
    mean = None if pair is None else producer(pair[0], "ReduceMean")
    if mean is None or epsilon is None or c is None or not _is_square(mean.inputs[0], c):
        return None
    axis = _reduced_axis(mean)
    return None if axis is None else _with_centre(c, axis, epsilon)


def _times_reciprocal(node: ir.Node) -> tuple[ir.Value | None, ir.Node | None]:
    for c, other in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        inverse = producer(other, "Reciprocal", "Div")
        if inverse is None or (inverse.op_type == "Div" and scalar_of(inverse.inputs[0]) != 1.0):
            continue
        root = producer(inverse.inputs[-1], "Sqrt")
        if root is not None:
            return c, root
    return None, None


def _is_square(value: ir.Value | None, c: ir.Value) -> bool:
    node = producer(value, "Mul", "Pow")
    if node is None or node.inputs[0] is not c:
        return False
    return node.inputs[1] is c if node.op_type == "Mul" else scalar_of(node.inputs[1]) == 2.0


def _reduced_axis(node: ir.Node) -> int | None:
    full = shape_of(node.inputs[0])
    axes = attribute(node, "axes") if len(node.inputs) < 2 else constant_of(node.inputs[1])
    if full is None or axes is None or len(axes) != 1 or not attribute(node, "keepdims", 1):
        return None
    axis = int(np.asarray(axes).reshape(-1)[0]) % len(full)
    return axis if axis == len(full) - 1 or (axis == 1 and len(full) == 4) else None


def _with_centre(c: ir.Value, axis: int, epsilon: float) -> Norm | None:
    sub = producer(c, "Sub")
    mean = None if sub is None else producer(sub.inputs[1], "ReduceMean")
    if sub is not None and mean is not None and mean.inputs[0] is sub.inputs[0] and _reduced_axis(mean) == axis:
        x = sub.inputs[0]
        return None if x is None or shape_of(x) is None else Norm(x, axis, epsilon)
    return None if shape_of(c) is None else Norm(c, axis, epsilon, centred=False)
