"""Constants of a QDQ graph."""

from __future__ import annotations

import onnx_ir as ir

__all__ = ["dequantizes_constant"]


def dequantizes_constant(node: ir.Node) -> bool:
    """Whether the node turns stored codes into values."""
    return node.op_type == "DequantizeLinear" and node.inputs[0] is not None and node.inputs[0].const_value is not None
