"""Constants computed ahead: nodes whose inputs are all known become what they give."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

__all__ = ["fold_constants"]

#: numbers that a tensor of one value may have and be stored
_FILLED = 1 << 22


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
