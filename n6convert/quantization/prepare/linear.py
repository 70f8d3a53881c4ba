"""MatMul with a constant matrix followed by Add of a constant vector: one Gemm, whose bias is int32.

``Reshape(Gemm(Reshape(x, [rows, K]), W, b), shape)`` equals ``MatMul(x, W) + b``. Left apart, the product would be
rounded to int8 before the sum, and the bias would get a single int8 scale for all channels ([#gemm]).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant, new_constant, static_dims, take_over

__all__ = ["fuse_linear"]


def fuse_linear(graph: ir.Graph) -> int:
    """Fuse in place; returns how many were fused."""
    return sum(_fuse(graph, node) for node in list(graph) if node.op_type == "MatMul")


def _fuse(graph: ir.Graph, node: ir.Node) -> bool:
    source, weight, product = node.inputs[0], node.inputs[1], node.outputs[0]
    if source is None or weight is None or not is_constant(weight) or constant(weight).ndim != 2:
        return False
    add = next(iter(product.consumers()), None)
    bias = _bias(product, add)
    shape = product.shape
    if add is None or bias is None or shape is None or constant(bias).size != constant(weight).shape[1]:
        return False
    dims = static_dims(shape)
    name = node.name or product.name
    vector = new_constant(graph, f"{bias.name}_vector", constant(bias).reshape(-1))
    nodes = [ir.node("Gemm", [source, weight, vector], name=name)]
    if len(dims) != 2:
        rows = [int(np.prod(dims[:-1])), constant(weight).shape[0]]
        flat = _reshape(graph, source, rows, f"{name}_rows")
        nodes[0].replace_input_with(0, flat.outputs[0])
        nodes[0].outputs[0].name = f"{name}_product"
        nodes[0].outputs[0].type, nodes[0].outputs[0].shape = product.type, ir.Shape([rows[0], dims[-1]])
        nodes = [flat, nodes[0], _reshape(graph, nodes[0].outputs[0], dims, f"{name}_back")]
    take_over(graph, add, nodes)
    graph.remove(node, safe=True)
    return True


def _bias(product: ir.Value, add: ir.Node | None) -> ir.Value | None:
    """The constant vector that the product's only consumer adds along the last axis."""
    if add is None or add.op_type != "Add" or len(product.uses()) != 1 or product.is_graph_output():
        return None
    other = add.inputs[1] if add.inputs[0] is product else add.inputs[0]
    if not is_constant(other) or add.outputs[0].shape != product.shape:
        return None
    array = constant(other)
    return other if array.ndim and array.shape[-1] == array.size else None


def _reshape(graph: ir.Graph, source: ir.Value, dims: list[int], name: str) -> ir.Node:
    shape = new_constant(graph, f"{name}_shape", np.array(dims, np.int64))
    node = ir.node("Reshape", [source, shape], name=name)
    node.outputs[0].name = f"{name}_output"
    node.outputs[0].type, node.outputs[0].shape = source.type, ir.Shape(dims)
    return node
