"""Values of attention around zero: ``W sum_j p_j v_j + b = W sum_j p_j (v_j - v_0) + (W v_0 + b)``.

What Softmax weighs adds up to one, so what all values have in common comes out of attention as it went in. In 8 bits it
widens the range of values and products, which are rounded before they are summed ([#matmul-forms]), and hides what
differs. So the bias of the layer that makes the values is moved by their mean, and that of the layer behind attention
gives it back. Exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.dag import reach
from n6convert.graph.operators import MOVES
from n6convert.graph.patterns.layers import bias_of, with_bias
from n6convert.graph.patterns.slices import axis_of
from n6convert.graph.query import Array, attribute, constant_of, is_float, operand, producer, shape_of, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CentreValues"]

#: means below this share of the largest value are left
_WORTH = 0.02
_VIEWS = MOVES - {"Slice"}


@dataclass
class _Values:
    """A layer and the layers behind attention.

    Attributes:
        layer: makes values, and may make queries and keys besides.
        bias: [N].
        axis: of its channels.
        centered: channels that reach nothing but attention.
        behind: nodes that add a constant, the weights in front of them [channel, output], and the layer's channel that
            each of their channels is.
    """

    layer: ir.Node
    bias: Array
    axis: int
    centered: Array
    behind: list[tuple[ir.Node, Array, Array]]


class CentreValues(Rewrite[_Values]):
    """Take out of attention values what all of them have in common, and add it behind attention."""

    name = "centre-values"
    roots = frozenset({"Add", "Gemm", "Conv"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Values | None:
        value, full = node.outputs[0], shape_of(node.outputs[0])
        if full is None or not is_float(value) or not _is_averaged(value):
            return None
        added = bias_of(node, full)
        if added is None:
            return None
        axis, bias = added
        ways = _Ways()
        ways.follow(value, np.moveaxis(np.broadcast_to(np.arange(full[axis]), _last(full, axis)), -1, axis))
        centered = ways.centered(full[axis])
        return _Values(node, bias, axis, centered, ways.behind) if centered.any() else None

    def check(self, found: _Values, context: Context) -> str | None:
        return None if context.values(found.layer.outputs[0]) else "the mean of its values is not known without samples"

    def replace(self, found: _Values, build: Builder, context: Context) -> Sequence[ir.Value]:
        arrays = [np.moveaxis(a, found.axis, -1) for a in context.values(found.layer.outputs[0])]
        values = np.concatenate([a.reshape(-1, len(found.bias))[:, found.centered] for a in arrays])
        mean = np.zeros(len(found.bias))
        mean[found.centered] = values.mean(axis=0, dtype=np.float64)
        if np.abs(mean).max() <= _WORTH * np.abs(values).max():
            return found.layer.outputs
        for node, weight, channels in found.behind:
            _give_back(build, node, mean[channels] @ weight)
        return with_bias(build, found.layer, found.bias - mean)


def _last(full: Sequence[int], axis: int) -> tuple[int, ...]:
    """A shape with one axis moved to the end."""
    return (*full[:axis], *full[axis + 1 :], full[axis])


@dataclass
class _Ways:
    """Follows the channels of a layer, each by its number, to where they are averaged and then go into weights."""

    fixed: set[int] = field(default_factory=set)
    """Channels that something else than attention reads."""
    behind: list[tuple[ir.Node, Array, Array]] = field(default_factory=list)
    _averaged: dict[ir.Value, Array] = field(default_factory=dict)
    _open: dict[ir.Node, list[Array]] = field(default_factory=dict)
    """Joins of which not all parts are known yet."""

    def centered(self, channels: int) -> Array:
        """Which channels may be moved, as booleans."""
        waiting = [marks for parts in self._open.values() for marks in parts]
        fixed = [*self.fixed, *(i for marks in waiting for i in np.unique(marks))]
        reached = [np.unique(marks) for _, _, marks in self.behind]
        moved = np.isin(np.arange(channels), np.concatenate(reached) if reached else [])
        return np.asarray(moved & ~np.isin(np.arange(channels), fixed))

    def follow(self, value: ir.Value, marks: Array, averaged: bool = False) -> None:
        """Walk on from a value, of which every element bears the number of its channel."""
        if averaged:
            self._averaged[value] = marks
        known = not value.is_graph_output()
        for node, index in value.uses():
            known = known and self._step(node, index, value, marks, averaged)
        if not known:
            self.fixed |= {int(i) for i in np.unique(marks)}

    def _step(self, node: ir.Node, index: int, value: ir.Value, marks: Array, averaged: bool) -> bool:
        if node.op_type in _VIEWS and index == 0:
            for result, moved in _moved(node, marks):
                self.follow(result, moved, averaged)
            return True
        if not averaged:
            return self._average(node, index, value, marks)
        if node.op_type == "Concat":
            return self._join(node, marks)
        return self._layer(node, index, value, marks)

    def _average(self, node: ir.Node, index: int, value: ir.Value, marks: Array) -> bool:
        """A product with weights that add up to one."""
        result = shape_of(node.outputs[0])
        if node.op_type != "MatMul" or index != 1 or result is None or not _adds_up(node.inputs[0]):
            return False
        if (marks != marks[..., :1, :]).any():
            return False
        self.follow(node.outputs[0], np.broadcast_to(marks[..., :1, :], result), True)
        return True

    def _join(self, node: ir.Node, marks: Array) -> bool:
        self._open.setdefault(node, []).append(marks)
        if all(v in self._averaged for v in node.inputs if v is not None) and (axis := axis_of(node)) is not None:
            parts = [self._averaged[v] for v in node.inputs if v is not None]
            self._open.pop(node)
            self.follow(node.outputs[0], np.concatenate(parts, axis), True)
        return True

    def _layer(self, node: ir.Node, index: int, value: ir.Value, marks: Array) -> bool:
        """A layer that reads the channels along the last axis."""
        weight, adds = _weights(node), _adder(node)
        rows = marks.reshape(-1, marks.shape[-1])
        if index != 0 or weight is None or adds is None or (rows != rows[0]).any():
            return False
        self.behind.append((adds, weight, rows[0]))
        return True


def _moved(node: ir.Node, marks: Array) -> Iterator[tuple[ir.Value, Array]]:
    """What a view or Split makes of the marks, for each of its results."""
    shapes = [shape_of(v) or () for v in node.outputs]
    if node.op_type == "Transpose":
        yield node.outputs[0], np.transpose(marks, attribute(node, "perm") or range(marks.ndim)[::-1])
    elif node.op_type == "Split":
        axis = int(attribute(node, "axis", 0)) % marks.ndim
        cuts = np.cumsum([shape[axis] for shape in shapes])[:-1]
        yield from zip(node.outputs, np.split(marks, cuts, axis), strict=True)
    else:
        yield node.outputs[0], marks.reshape(shapes[0])


def _is_averaged(value: ir.Value) -> bool:
    """Whether weights that add up to one multiply some of it, behind views."""
    parts = reach(value, lambda v: (r for n in users(v) if n.op_type in _VIEWS for r in n.outputs))
    return any(n.op_type == "MatMul" and _adds_up(n.inputs[0]) for v in parts for n in users(v))


def _adds_up(value: ir.Value | None) -> bool:
    """Whether the last axis of a value adds up to one."""
    softmax, full = producer(value, "Softmax"), shape_of(value)
    return softmax is not None and full is not None and attribute(softmax, "axis", -1) in (-1, len(full) - 1)


def _weights(node: ir.Node) -> Array | None:
    """[channel, output] of a layer along the last axis; None for other nodes."""
    weight = constant_of(node.inputs[1]) if node.op_type in ("MatMul", "Gemm") else None
    if weight is None or weight.ndim != 2 or attribute(node, "transA", 0):
        return None
    turned = weight.T if attribute(node, "transB", 0) else weight
    return np.asarray(turned * float(attribute(node, "alpha", 1.0)), np.float64)


def _adder(node: ir.Node) -> ir.Node | None:
    """The node that adds a layer's bias: the layer itself or the Add that alone reads it."""
    if node.op_type == "Gemm" and len(node.inputs) > 2 and node.inputs[2] is not None:
        constant = constant_of(node.inputs[2]) is not None and attribute(node, "beta", 1.0) == 1.0
        return node if constant else None
    readers = users(node.outputs[0])
    if len(readers) != 1 or readers[0].op_type != "Add" or node.outputs[0].is_graph_output():
        return None
    added = operand(readers[0], constant=True)
    same = shape_of(readers[0].outputs[0]) == shape_of(node.outputs[0])
    return readers[0] if added is not None and same else None


def _give_back(build: Builder, node: ir.Node, shift: Array) -> None:
    """Add numbers per output channel to the constant that a node adds, in place."""
    index = 2 if node.op_type == "Gemm" else next(i for i, v in enumerate(node.inputs) if constant_of(v) is not None)
    bias = constant_of(node.inputs[index])
    assert bias is not None
    node.replace_input_with(index, build.constant(bias + shift))
