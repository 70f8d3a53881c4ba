"""Constants computed ahead: nodes whose inputs are all known become what they give."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from n6convert.graph.query import is_constant

__all__ = ["anything_to_fold", "fold_constants"]

#: numbers that a tensor of one value may have and be stored
_FILLED = 1 << 22
#: operators that make constants or shapes, or that the library finds needless by what they read
_FOLDABLE = frozenset(
    {"Abs", "Cast", "CastLike", "ConcatFromSequence", "Dropout", "Expand", "Identity", "SequenceAt"}
    | {"SequenceConstruct", "Shape", "Size", "SplitToSequence"}
)


def anything_to_fold(model: ir.Model) -> bool:
    """Whether :func:`fold_constants` may find anything; looking is quicker than the library is imported.

    Args:
        model: with the shapes that are known; those that are not may hide something.
    """
    return bool(model.functions) or any(_may_fold(node) for node in model.graph)


def _may_fold(node: ir.Node) -> bool:
    """Whether a node is a constant, is needless, or holds graphs of its own, which are not looked into."""
    present = [v for v in node.inputs if v is not None]
    if node.domain or node.op_type in _FOLDABLE or all(map(is_constant, present)):
        return True
    if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in node.attributes.values()):
        return True
    if node.op_type == "Reshape":
        return _shape(node.inputs[0]) in (None, _shape(node.outputs[0]))
    return node.op_type == "Concat" and (len(present) == 1 or any(0 in (_shape(v) or (0,)) for v in present))


def _shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """A value's dimensions; None where any is not known."""
    shape = None if value is None else value.shape
    return None if shape is None or not shape.is_static() else tuple(map(int, shape))  # type: ignore[arg-type]


def fold_constants(model: ir.Model, **limits: Any) -> None:
    """Fold constants in place; tensors of one value that a constant shape asks for among them, if they are small.

    Args:
        model: changed in place.
        limits: those of onnxscript's ``fold_constants``: ``onnx_shape_inference``, ``input_size_limit``,
            ``output_size_limit``.
    """
    from onnxscript import optimizer

    optimizer.fold_constants(model, should_fold=_filled, **limits)


def _filled(node: ir.Node) -> bool | None:
    """Whether to fold a ConstantOfShape, which the library keeps; None leaves other operators to the library."""
    shape = node.inputs[0].const_value if node.op_type == "ConstantOfShape" and node.inputs[0] is not None else None
    return None if shape is None or not math.prod(int(d) for d in shape.numpy()) <= _FILLED else True
