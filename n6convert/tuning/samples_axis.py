"""Whether samples can lie along the first axis of all tensors, as a batch: operators then run as they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from n6convert.graph.operators import CONVERSIONS
from n6convert.graph.query import shape_of
from n6convert.tuning.constants import dequantizes_constant

__all__ = ["keeps_samples_apart"]

_Rule = Callable[[ir.Node], bool]


def keeps_samples_apart(model: ir.Model) -> bool:
    """Whether every activation has a first axis of size 1 that no operator mixes, moves or cuts."""
    nodes = [n for n in model.graph if not dequantizes_constant(n)]
    values = [*model.graph.inputs, *(v for n in nodes for v in n.outputs)]
    return all((_sizes(v) or (0,))[0] == 1 for v in values) and all(_apart(n) for n in nodes)


def _apart(node: ir.Node) -> bool:
    rule = _RULES.get(node.op_type)
    return node.op_type in CONVERSIONS or (_broadcasts(node) if rule is None else rule(node))


def _sizes(value: ir.Value | None) -> tuple[int, ...] | None:
    """The static shape of a value; None where it is not known."""
    if value is None:
        return None
    maker = value.producer()
    if maker is not None and dequantizes_constant(maker):
        value = maker.inputs[0]
    if value is not None and value.const_value is not None:
        return tuple(int(d) for d in value.const_value.shape.numpy())
    return shape_of(value)


def _is_constant(value: ir.Value | None) -> bool:
    maker = None if value is None else value.producer()
    return value is None or value.const_value is not None or (maker is not None and dequantizes_constant(maker))


def _numbers(node: ir.Node, index: int, name: str) -> list[int] | None:
    """A list that older opsets have as an attribute; None where it is not there or not constant."""
    given = node.attributes.get_ints(name, None)
    if given is not None:
        return list(given)
    value = node.inputs[index] if len(node.inputs) > index else None
    return None if value is None or value.const_value is None else np.ravel(value.const_value.numpy()).tolist()


def _rank(node: ir.Node) -> int:
    return len(_sizes(node.inputs[0]) or ())


def _broadcasts(node: ir.Node) -> bool:
    """Activations have all axes of the result, and constants none of samples."""
    rank = len(_sizes(node.outputs[0]) or ())
    sizes = [(v, _sizes(v)) for v in node.inputs if v is not None]
    return all(
        s is not None and ((len(s) < rank or s[0] == 1) if _is_constant(v) else len(s) == rank) for v, s in sizes
    )


def _channels(node: ir.Node) -> bool:
    """Operators whose first axis is always one of samples."""
    return _rank(node) > 1 and not _is_constant(node.inputs[0]) and all(map(_is_constant, node.inputs[1:]))


def _product(node: ir.Node) -> bool:
    if node.op_type == "Gemm":
        return not node.attributes.get_int("transA", 0) and _channels(node)
    left, right = (_sizes(v) or () for v in node.inputs)
    if _is_constant(node.inputs[0]):
        return len(right) > 2 and (len(left) < len(right) or left[0] == 1)
    if _is_constant(node.inputs[1]):
        return len(left) > 1 and (len(right) < max(len(left), 3) or (len(right) == len(left) and right[0] == 1))
    return len(left) == len(right) > 2


def _axis(default: int) -> _Rule:
    return lambda node: node.attributes.get_int("axis", default) % max(_rank(node), 1) != 0


def _axes(index: int, name: str = "axes") -> _Rule:
    def rule(node: ir.Node) -> bool:
        axes = _numbers(node, index, name)
        return bool(axes) and all(a % max(_rank(node), 1) for a in axes or ())

    return rule


def _gather(node: ir.Node) -> bool:
    data, picked = node.inputs[:2]
    if _is_constant(data):
        return node.attributes.get_int("axis", 0) == 0 and not _is_constant(picked)
    return _is_constant(picked) and _axis(0)(node)


def _concat(node: ir.Node) -> bool:
    return _axis(0)(node) and not any(map(_is_constant, node.inputs))


def _transpose(node: ir.Node) -> bool:
    return list(node.attributes.get_ints("perm", [-1]))[0] == 0


def _pad(node: ir.Node) -> bool:
    sizes = _numbers(node, 1, "pads") or [1]
    return len(node.inputs) < 4 and not sizes[0] and not sizes[len(sizes) // 2]


def _repeats(node: ir.Node) -> bool:
    sizes = _numbers(node, 1, "repeats")
    return sizes is not None and len(sizes) <= _rank(node) and (len(sizes) < _rank(node) or sizes[0] == 1)


def _reshape(node: ir.Node) -> bool:
    """Values stay in their order, so samples stay apart where both shapes have the axis."""
    return not _is_constant(node.inputs[0])


_RULES: dict[str, _Rule] = {
    "AveragePool": _channels,
    "BatchNormalization": _channels,
    "Concat": _concat,
    "Conv": _channels,
    "ConvTranspose": _channels,
    "DepthToSpace": _channels,
    "Expand": _repeats,
    "Flatten": _reshape,
    "Gather": _gather,
    "Gemm": _product,
    "GlobalAveragePool": _channels,
    "GlobalMaxPool": _channels,
    "InstanceNormalization": _channels,
    "LayerNormalization": _axis(-1),
    "LogSoftmax": _axis(-1),
    "MatMul": _product,
    "MaxPool": _channels,
    "Pad": _pad,
    "ReduceMax": _axes(1),
    "ReduceMean": _axes(1),
    "ReduceMin": _axes(1),
    "ReduceSum": _axes(1),
    "Reshape": _reshape,
    "Resize": _channels,
    "Slice": _axes(3),
    "Softmax": _axis(-1),
    "SpaceToDepth": _channels,
    "Split": _axis(0),
    "Squeeze": _reshape,
    "Tile": _repeats,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
