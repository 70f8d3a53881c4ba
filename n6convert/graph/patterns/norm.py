"""Finding LayerNorm and RMSNorm, as one operator or spelled out as exporters do."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import (
    Array,
    attribute,
    constant_of,
    grid,
    operand,
    producer,
    reduced_axes,
    scalar_of,
    shape_of,
)

__all__ = ["Norm", "find_norm"]


@dataclass
class Norm:
    """``gamma * (x - mean) / sqrt(var + epsilon) + beta`` over one axis: the last, or the channels of [1, C, ...]."""

    x: ir.Value
    axis: int
    epsilon: float
    centered: bool = True
    gamma: Array | float = 1.0
    beta: Array | float | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the input."""
        return shape_of(self.x) or ()

    @property
    def channels(self) -> int:
        """Elements that one mean is taken over."""
        return self.shape[self.axis]

    @property
    def rows(self) -> int:
        """How many means there are."""
        return math.prod(self.shape) // self.channels

    @property
    def of_map(self) -> bool:
        """Whether the mean is over the channels of a map, not over the last axis."""
        return self.axis == 1 and len(self.shape) > 2

    def to_channel_first(self, build: Builder) -> ir.Value:
        """x as [1, D, h, w], h * w the rows."""
        to = [1, self.channels, *grid(self.rows)]
        stays = self.of_map or self.rows == 1
        return build.reshape(self.x, to) if stays else build.swap(self.x, self.rows, to)

    def from_channel_first(self, build: Builder, y: ir.Value) -> ir.Value:
        """[1, D, h, w] in the shape of x."""
        stays = self.of_map or self.rows == 1
        return build.reshape(y, self.shape) if stays else build.swap(y, self.channels, self.shape)


def find_norm(node: ir.Node) -> Norm | None:
    """The normalization that ends in ``node``; the longest form, so scale and shift are taken along."""
    if node.op_type in ("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"):
        return _operator(node)
    if _continues(node):
        return None
    return _spread_out(node) or _shifted(node) or _scaled(node) or _bare(node)


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
    if values is None or values.ndim > len(norm.shape) or values.size not in (1, norm.channels):
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
    found = None if root is None else _moments(root)
    if found is None or c is None or found[0] is not c:
        return None
    return _with_center(*found)


def _moments(root: ir.Node) -> tuple[ir.Value, int, float] | None:
    """(c, axis, eps) of ``Sqrt(mean(c*c) + eps)``."""
    summed = producer(root.inputs[0], "Add")
    pair = None if summed is None else operand(summed, constant=True)
    epsilon = None if pair is None else scalar_of(pair[1])
    mean = None if pair is None else producer(pair[0], "ReduceMean")
    c = None if mean is None else _squared(mean.inputs[0])
    axis = None if mean is None else _reduced_axis(mean)
    return None if c is None or axis is None or epsilon is None else (c, axis, epsilon)


def _spread_out(node: ir.Node) -> Norm | None:
    """TensorFlow's form ``x * s + (beta - mean(x) * s)`` with ``s = gamma / Sqrt(var + eps)``."""
    for product, rest in (node.inputs, node.inputs[::-1]) if node.op_type == "Add" else ():
        scaled, shift = producer(product, "Mul"), producer(rest, "Sub")
        taken = None if shift is None else producer(shift.inputs[1], "Mul")
        if scaled is None or shift is None or taken is None or constant_of(shift.inputs[0]) is None:
            continue
        for x, s in (scaled.inputs, scaled.inputs[::-1]):
            mean = next((v for v in taken.inputs if v is not s), None) if s in taken.inputs else None
            norm = None if x is None or s is None else _scaled_by(x, s, mean)
            beta = None if norm is None or shift.inputs[0] is None else _along(norm, shift.inputs[0])
            if norm is not None and beta is not None:
                return replace(norm, beta=beta)
    return None


def _scaled_by(x: ir.Value, s: ir.Value, mean: ir.Value | None) -> Norm | None:
    """The normalization whose deviation s holds, when its mean is the one given."""
    times = producer(s, "Mul")
    pair = None if times is None else operand(times, constant=True)
    root = _root_of(s if pair is None else pair[0])
    found = None if root is None else _moments(root)
    if found is None:
        return None
    c, axis, epsilon = found
    norm = _with_center(c, axis, epsilon)
    center = producer(c, "Sub")
    if norm is None or norm.x is not x or center is None or center.inputs[1] is not mean:
        return None
    gamma = None if pair is None else _along(norm, pair[1])
    return None if pair is not None and gamma is None else replace(norm, gamma=1.0 if gamma is None else gamma)


def _root_of(value: ir.Value | None) -> ir.Node | None:
    """The Sqrt of which a value is the reciprocal."""
    inverse = producer(value, "Reciprocal", "Div")
    if inverse is None or (inverse.op_type == "Div" and scalar_of(inverse.inputs[0]) != 1.0):
        return None
    return producer(inverse.inputs[-1], "Sqrt")


def _times_reciprocal(node: ir.Node) -> tuple[ir.Value | None, ir.Node | None]:
    for c, other in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        root = _root_of(other)
        if root is not None:
            return c, root
    return None, None


def _squared(value: ir.Value | None) -> ir.Value | None:
    """c, when the value is its square."""
    node = producer(value, "Mul", "Pow")
    if node is None:
        return None
    same = node.inputs[1] is node.inputs[0] if node.op_type == "Mul" else scalar_of(node.inputs[1]) == 2.0
    return node.inputs[0] if same else None


def _reduced_axis(node: ir.Node) -> int | None:
    full = shape_of(node.inputs[0])
    axes = None if full is None else reduced_axes(node, len(full))
    if full is None or axes is None or len(axes) != 1 or not attribute(node, "keepdims", 1):
        return None
    axis = axes[0]
    return axis if axis == len(full) - 1 or (axis == 1 and len(full) == 4) else None


def _with_center(c: ir.Value, axis: int, epsilon: float) -> Norm | None:
    sub = producer(c, "Sub")
    mean = None if sub is None else producer(sub.inputs[1], "ReduceMean")
    if sub is not None and mean is not None and mean.inputs[0] is sub.inputs[0] and _reduced_axis(mean) == axis:
        x = sub.inputs[0]
        return None if x is None or shape_of(x) is None else Norm(x, axis, epsilon)
    return None if shape_of(c) is None else Norm(c, axis, epsilon, centered=False)
