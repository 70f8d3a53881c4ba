"""A quantized model with float inputs and outputs, to be run beside the result."""

from __future__ import annotations

import onnx_ir as ir

from n6convert.requantization.dequantize import MOVES, float_input, is_codes

__all__ = ["with_float_ends"]


def with_float_ends(model: ir.Model, place: object) -> ir.Model:
    """A copy whose inputs and outputs of codes are float tensors of the same names."""
    copy = model.clone()
    graph = copy.graph
    for value in graph.inputs:
        if is_codes(value):
            float_input(graph, value, place)
    for index, value in enumerate(graph.outputs):
        maker = _quantizer(value) if is_codes(value) else None
        if maker is not None:
            node = ir.node("DequantizeLinear", [value, *maker.inputs[1:3]], name=f"{value.name}_dequantize")
            result, name = node.outputs[0], value.name
            value.name = f"{name}_codes"
            result.name, result.type, result.shape = name, ir.TensorType(ir.DataType.FLOAT), value.shape
            graph.append(node)
            graph.outputs[index] = result
    return copy


def _quantizer(value: ir.Value | None) -> ir.Node | None:
    """The QuantizeLinear that made codes, behind operators that moved them."""
    node = None if value is None else value.producer()
    if node is None or node.op_type == "QuantizeLinear":
        return node
    return _quantizer(node.inputs[0]) if node.op_type in MOVES else None
