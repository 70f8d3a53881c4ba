"""Walks a QDQ graph and says where it is not INT8."""

from __future__ import annotations

import onnx_ir as ir

_FLOAT = (None, ir.DataType.FLOAT)


def float_islands(model: ir.Model) -> list[str]:
    """A sentence for every compute node with a float operand that is not dequantized or a result not quantized."""
    found = []
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        for index, value in enumerate(node.inputs):
            if value is None or value.dtype not in _FLOAT or _is_bound(node, index):
                continue
            producer = value.producer()
            if producer is None or producer.op_type != "DequantizeLinear":
                found.append(f"{node.op_type} {node.name}: input {value.name} is float")
        for value in node.outputs:
            uses = [n.op_type for n in value.consumers()]
            if value.dtype in _FLOAT and value.name and (value.is_graph_output() or set(uses) - {"QuantizeLinear"}):
                found.append(f"{node.op_type} {node.name}: output {value.name} is float, read by {uses}")
    return found


def _is_bound(node: ir.Node, index: int) -> bool:
    return index > 0 and node.op_type in ("Clip", "Resize", "Pad")
