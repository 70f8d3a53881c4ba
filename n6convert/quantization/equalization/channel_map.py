"""Which tensors may be scaled channel by channel without changing what the network computes.

The graph is walked once with :class:`~.scale_variables.ScaleVariables` in place of numbers. Operators that
commute with positive factors (Add, Relu, pooling, moves of values) tie or pass labels on; the constants of
convolutions, matrix products, ``x * v``, ``x + v`` and embedding tables absorb them; a product of two activations lets
one operand's factor cancel the other's (``q_c / s * k_c s``, as MatMul or element by element). Every other operator
pins the labels that reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from n6convert.graph.dag import reach
from n6convert.graph.query import is_constant, may_be_float
from n6convert.quantization.equalization.scale_variables import (
    LabelArray,
    ScaleVariables,
    broadcast,
    joined,
    squeeze_constant_axes,
)
from n6convert.quantization.prepare.operator_forms import constant, static_dims
from n6convert.quantization.topology.sharing import absorbed_by_grid, is_share, passes_through

__all__ = ["Absorber", "ChannelMap", "map_channels"]


@dataclass(frozen=True)
class Absorber:
    """A constant that takes up factors: it becomes ``constant * s ** power``.

    Attributes:
        labels: of the factors, in a shape that broadcasts to the constant's.
        power: 1 where the constant multiplies a scaled tensor, -1 where it makes one.
        rows: the output-channel axis of a layer's weight that reads the tensor; None for every other constant.
    """

    value: ir.Value
    labels: LabelArray
    power: int
    rows: int | None = None


@dataclass
class ChannelMap:
    """Labels of every float activation, the constants that absorb factors, and the clips that need a bound per channel.

    Attributes:
        clips: Clip nodes at 0 and an upper bound, which a factor moves.
        saturating: names of Relu and Clip outputs whose operator the grid replaces.
    """

    labels: ScaleVariables = field(default_factory=ScaleVariables)
    tensors: dict[ir.Value, LabelArray] = field(default_factory=dict)
    absorbers: list[Absorber] = field(default_factory=list)
    clips: list[ir.Node] = field(default_factory=list)
    saturating: frozenset[str] = frozenset()

    def of(self, value: ir.Value | None) -> LabelArray:
        """Labels of an activation as they stand now."""
        assert value is not None
        return self.labels.find(self.tensors[value]) if value in self.tensors else _fixed(value)


def map_channels(graph: ir.Graph, fixed: Collection[str] = ()) -> ChannelMap:
    """Walk the graph; afterwards every label but 0 may get any positive factor.

    Args:
        fixed: outputs of Clips whose bound must not move.
    """
    found = ChannelMap(saturating=frozenset(absorbed_by_grid(graph)) - frozenset(fixed))
    for value in graph.inputs:
        found.tensors[value] = _fixed(value)
    for node in graph:
        outputs = _labels_after(found, node)
        found.tensors.update(zip(node.outputs, outputs, strict=False))
    for value in graph.outputs:
        if value in found.tensors:
            found.labels.fix(found.tensors[value])
    return found


def _labels_after(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray]:
    rule = _RULES.get(node.op_type)
    known = all(v.shape is not None and v.shape.is_static() for v in (*node.inputs, *node.outputs) if v is not None)
    if rule is not None and known and may_be_float(node.outputs[0]):
        outputs = rule(found, node)
        if outputs is not None:
            return outputs
    for value in node.inputs:
        if value in found.tensors:
            found.labels.fix(found.tensors[value])
    return [_fixed(v) for v in node.outputs]


def _fixed(value: ir.Value) -> LabelArray:
    return broadcast(np.zeros((), np.int64), _dims(value))


def _dims(value: ir.Value | None) -> list[int]:
    return static_dims(value.shape) if value is not None and value.shape is not None else []


def _along(vector: LabelArray, shape: Sequence[int], axis: int) -> LabelArray:
    """One label per channel, seen with the shape of the tensor."""
    kept = [1] * len(shape)
    kept[axis] = -1
    return broadcast(vector.reshape(kept), shape)


def _evened(found: ChannelMap, labels: LabelArray, axes: Sequence[int]) -> LabelArray:
    """Labels tied along some axes, of which one element is left."""
    first = labels[tuple(slice(0, 1) if i in axes else slice(None) for i in range(labels.ndim))]
    found.labels.unify(labels, first)
    return first


def _vector(found: ChannelMap, value: ir.Value | None, axis: int) -> LabelArray:
    """One label per channel; labels that vary within a channel are tied."""
    labels = found.of(value)
    return _evened(found, labels, [i for i in range(labels.ndim) if i != axis % labels.ndim]).reshape(-1)


Rule = Callable[[ChannelMap, ir.Node], "Sequence[LabelArray] | None"]


def _convolution(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    if not is_constant(weight) or weight is None or (bias is not None and not is_constant(bias)):
        return None
    shape, groups = _dims(weight), node.attributes.get_int("group", 1)
    output = _dims(node.outputs[0])
    if _keeps_places(node, shape, output) and (bias is None or not constant(bias).any()):
        by_place = found.of(node.inputs[0])[:, :1]
        if squeeze_constant_axes(by_place).size > 1:
            found.labels.unify(found.of(node.inputs[0]), by_place)
            return [broadcast(by_place, output)]
    read, made = _vector(found, node.inputs[0], 1), found.labels.new(output[1])
    tail = [1] * (len(shape) - 2)
    transposed = node.op_type == "ConvTranspose"
    many, few = (made, read) if not transposed else (read, made)
    # of the weight's first two axes one counts all channels, the other those of a group
    by_group = np.repeat(few.reshape(groups, -1), many.size // groups, axis=0)
    grouped = by_group.reshape(*by_group.shape, *tail)
    plain = many.reshape(-1, 1, *tail)
    reading, writing = (plain, grouped) if transposed else (grouped, plain)
    found.absorbers.append(Absorber(weight, reading, 1, rows=1 if transposed else 0))
    found.absorbers.append(Absorber(weight, writing, -1))
    if bias is not None:
        found.absorbers.append(Absorber(bias, made, -1))
    return [_along(made, output, 1)]


def _keeps_places(node: ir.Node, weight: Sequence[int], output: Sequence[int]) -> bool:
    """Whether each place of the output is made of that place alone: factors that differ by place pass through."""
    return node.op_type == "Conv" and output[2:] == _dims(node.inputs[0])[2:] and set(weight[2:]) == {1}


def _linear(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    """Gemm or MatMul with a constant matrix on the right."""
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    assert weight is not None
    if len(_dims(weight)) != 2 or node.attributes.get_int("transA", 0) != 0 or is_constant(node.inputs[0]):
        return None
    output = _dims(node.outputs[0])
    read, made = _vector(found, node.inputs[0], -1), found.labels.new(output[-1])
    by_row = node.attributes.get_int("transB", 0)
    across, down = (read[None], made[:, None]) if by_row else (read[:, None], made[None])
    found.absorbers += [Absorber(weight, across, 1, rows=0 if by_row else 1), Absorber(weight, down, -1)]
    if bias is not None:
        found.absorbers.append(Absorber(bias, made, -1))
    return [_along(made, output, len(output) - 1)]


def _matmul(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    if is_constant(node.inputs[1]):
        return _linear(found, node)
    if is_constant(node.inputs[0]) or min(len(_dims(v)) for v in node.inputs) < 2:
        return None
    left, right = (found.of(v) for v in node.inputs)
    output = _dims(node.outputs[0])
    if not left.any():
        return [broadcast(_evened(found, right, [right.ndim - 2]), output)]
    if not right.any():
        return [broadcast(_evened(found, left, [left.ndim - 1]), output)]
    row = _evened(found, left, [left.ndim - 2])
    column = _evened(found, right, [right.ndim - 1])
    found.labels.unify(row, -np.swapaxes(column, -1, -2))
    return [_fixed(node.outputs[0])]


def _add(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    output = _dims(node.outputs[0])
    active = [v for v in node.inputs if v is not None and v in found.tensors]
    if not active:
        return None
    labels = broadcast(found.of(active[0]), output)
    for other in active[1:]:
        found.labels.unify(labels, found.of(other))
    for value in node.inputs:
        if value is not None and is_constant(value):
            at = _at_constant(found, labels, value)
            found.absorbers.append(Absorber(value, at, -1))
    return [labels]


def _at_constant(found: ChannelMap, labels: LabelArray, value: ir.Value) -> LabelArray:
    """The labels that each element of a broadcast constant meets, tied where one element meets several."""
    dims = _dims(value)
    missing = labels.ndim - len(dims)
    narrow = [i for i in range(labels.ndim) if i < missing or dims[i - missing] == 1]
    if constant(value).any():
        labels = _evened(found, labels, narrow)
    return labels[tuple(0 if i < missing else slice(0, 1) if i in narrow else slice(None) for i in range(labels.ndim))]


def _multiply(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    output = _dims(node.outputs[0])
    active = [v for v in node.inputs if v is not None and v in found.tensors]
    if len(active) == 2:
        for gate in filter(is_share, active):  # with factors it would cancel the other's, and what follows had none
            found.labels.fix(found.of(gate))
        return [_product(found, *(broadcast(found.of(v), output) for v in active))]
    vector = next((v for v in node.inputs if v is not None and is_constant(v)), None)
    if not active or vector is None:
        return None
    return [_by_vector(found, broadcast(found.of(active[0]), output), vector)]


def _product(found: ChannelMap, a: LabelArray, b: LabelArray) -> LabelArray:
    """A gate that stays as it is passes the other factor on; otherwise the factors cancel.

    A gate without channels (1/deviation of a normalization) stays as it is: one factor for all of it gains nothing.
    """
    for gate, other in ((a, b), (b, a)):
        if squeeze_constant_axes(gate).size == 1 and squeeze_constant_axes(other).size > 1:
            found.labels.fix(gate)
            return other
    if not a.any() or not b.any():
        return b if not a.any() else a
    found.labels.unify(a, -b)
    return broadcast(np.zeros((), np.int64), a.shape)


def _by_vector(found: ChannelMap, labels: LabelArray, vector: ir.Value) -> LabelArray:
    """A constant with one number per channel takes up the factors before it and those after it."""
    dims = [1] * (labels.ndim - len(_dims(vector))) + _dims(vector)
    wide = [i for i, d in enumerate(dims) if d > 1]
    others = [i for i in range(labels.ndim) if i not in wide]
    flat = labels[tuple(slice(0, 1) if i in others else slice(None) for i in range(labels.ndim))]
    if len(wide) != 1 or not np.array_equal(broadcast(flat, labels.shape), labels):
        return labels  # the product with any constant commutes with a factor
    made = _along(found.labels.new(dims[wide[0]]), labels.shape, wide[0])
    for part, power in ((labels, 1), (made, -1)):
        found.absorbers.append(Absorber(vector, _at_constant(found, part, vector), power))
    return made


def _divide(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    above, below = node.inputs
    if above not in found.tensors or (below in found.tensors and found.of(below).any()):
        return None
    return [broadcast(found.of(above), _dims(node.outputs[0]))]


def _alike(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    if node.op_type == "PRelu" and not is_constant(node.inputs[1]):
        return None
    return [found.of(node.inputs[0])]


def _clip(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    """From 0 to a bound: the factors move the bound, where saturation of the grid replaces the operator.

    One bound per channel would need a Min otherwise, which is no operator of the NPU ([#onnx-operators]).
    """
    low, high = (node.inputs[i] if len(node.inputs) > i else None for i in (1, 2))
    if not is_constant(low) or not is_constant(high) or constant(low) != 0:
        return None
    if node.outputs[0].name not in found.saturating or _joins(node.outputs[0]):
        return None
    found.clips.append(node)
    return [found.of(node.inputs[0])]


def _joins(value: ir.Value) -> bool:
    """Whether the tensor shares its grid with others, behind a Concat."""
    moved = reach(value, lambda v: [out for n in v.consumers() if passes_through(n) for out in n.outputs])
    return any(n.op_type == "Concat" for v in moved for n in v.consumers())


def _window(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    """Pooling, padding and resizing of the axes after the channels."""
    if node.op_type == "Pad" and (len(node.inputs) > 2 or node.attributes.get_string("mode", "constant") == "wrap"):
        return None
    labels, output = found.of(node.inputs[0]), _dims(node.outputs[0])
    if list(labels.shape[:2]) != output[:2]:
        return None
    return [broadcast(_evened(found, labels, range(2, labels.ndim)), output)]


def _reduce(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    labels = found.of(node.inputs[0])
    axes = [a % labels.ndim for a in node.attributes.get_ints("axes", range(labels.ndim))]
    return [_evened(found, labels, axes).reshape(_dims(node.outputs[0]))] if len(node.inputs) == 1 else None


def _reshape(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    return [found.of(node.inputs[0]).reshape(_dims(node.outputs[0]))]


def _transpose(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    labels = found.of(node.inputs[0])
    return [labels.transpose(node.attributes.get_ints("perm", range(labels.ndim)[::-1]))]


def _concat(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    if any(v not in found.tensors for v in node.inputs):
        return None
    parts = [found.of(v) for v in node.inputs]
    return [joined(parts, node.attributes.get_int("axis") % parts[0].ndim)]


def _split(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    labels = found.of(node.inputs[0])
    axis = node.attributes.get_int("axis", 0) % labels.ndim
    ends = np.cumsum([_dims(v)[axis] for v in node.outputs])
    return np.split(labels, ends[:-1], axis)


def _slice(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    labels = found.of(node.inputs[0])
    if not all(is_constant(v) for v in node.inputs[1:] if v is not None):
        return None
    starts, ends = (constant(v).tolist() for v in node.inputs[1:3])
    axes, steps = (constant(v).tolist() if v is not None else None for v in (*node.inputs[3:5], None, None)[:2])
    index = [slice(None)] * labels.ndim
    for i, axis in enumerate(axes or range(len(starts))):
        step = steps[i] if steps else 1
        if step < 0:
            return None
        index[axis] = slice(starts[i], ends[i], step)
    return [labels[tuple(index)]]


def _table(found: ChannelMap, node: ir.Node) -> Sequence[LabelArray] | None:
    """Rows of an embedding table."""
    table, output = node.inputs[0], _dims(node.outputs[0])
    if table is None or not is_constant(table) or len(_dims(table)) != 2 or node.attributes.get_int("axis", 0) != 0:
        return None
    made = found.labels.new(output[-1])
    found.absorbers.append(Absorber(table, made[None], -1))
    return [_along(made, output, len(output) - 1)]


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    **dict.fromkeys(("Add", "Sub"), _add),
    **dict.fromkeys(("Relu", "LeakyRelu", "PRelu", "Identity", "Neg", "Dropout"), _alike),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Pad"), _window),
    **dict.fromkeys(("ReduceMean", "ReduceMax"), _reduce),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _reshape),
    "Gemm": _linear,
    "MatMul": _matmul,
    "Mul": _multiply,
    "Div": _divide,
    "Clip": _clip,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
    "Gather": _table,
}
