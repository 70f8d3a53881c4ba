"""Where tensors inside are held against float: at what joins paths, or behind each layer."""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from n6convert.graph.operators import ARITHMETIC, PRODUCTS
from n6convert.tuning.constants import dequantizes_constant
from n6convert.tuning.program import tensor_name

__all__ = ["block_ends", "reached"]

_JOINS = ARITHMETIC | {"Concat"}


def block_ends(model: ir.Model, prepared: ir.Model) -> list[str]:
    """Tensors of an INT8 model that the float model has as well, and that end a block.

    Those are results of operators that join two activations, and of layers that none of these reads.
    """
    known = {v.name for n in prepared.graph for v in n.outputs}
    joins, layers = [], []
    for node in model.graph:
        quantize = _quantizer(node)
        if quantize is None:
            continue
        name = tensor_name(quantize.inputs[1].name or "")  # type: ignore[union-attr]
        if node.op_type in _JOINS and _activations(node) > 1:
            joins.append(name)
        elif node.op_type in PRODUCTS and not _is_joined(quantize):
            layers.append(name)
    return [name for name in dict.fromkeys([*joins, *layers]) if name in known]


def reached(model: ir.Model, constants: Collection[str]) -> set[str]:
    """Quantized activations of a QDQ model that change with some of its constants, given by their values' names."""
    values, found = set(constants), set[str]()
    for node in model.graph:
        if any(v is not None and v.name in values for v in node.inputs):
            values.update(v.name or "" for v in node.outputs)
            if node.op_type == "QuantizeLinear":
                found.add(tensor_name(node.inputs[1].name or ""))  # type: ignore[union-attr]
    return found


def _quantizer(node: ir.Node) -> ir.Node | None:
    if len(node.outputs) != 1 or node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        return None
    return next((n for n in node.outputs[0].consumers() if n.op_type == "QuantizeLinear"), None)


def _activations(node: ir.Node) -> int:
    makers = [v.producer() for v in node.inputs if v is not None]
    return sum(m is not None and m.op_type == "DequantizeLinear" and not dequantizes_constant(m) for m in makers)


def _is_joined(quantize: ir.Node) -> bool:
    readers = [n for d in quantize.outputs[0].consumers() for n in d.outputs[0].consumers()]
    return any(n.op_type in _JOINS and _activations(n) > 1 for n in readers)
