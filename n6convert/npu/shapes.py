"""Missing shapes, through onnx's own inference on a stripped copy: no weights, no Q/DQ, plain operators only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from n6convert.errors import GraphError
from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Tensor

if TYPE_CHECKING:
    import onnx

__all__ = ["infer"]

_SAME_SHAPE = {"QuantizeLinear", "DequantizeLinear", "Gelu", "FastGelu", "QuickGelu", "BiasGelu", "Swish"}
"""Inferred as Identity: their first input decides."""

_INDEX_TYPES = {"int64": 7, "int32": 6, "bool": 9}


def infer(graph: Graph, opset: int) -> None:
    """Fill in the shapes that the file does not state.

    Raises:
        GraphError: onnx cannot infer them (dynamic shapes, unknown operators, inconsistent sizes).
    """
    outputs = [name for node in graph.nodes for name in node.outputs if name]
    if all(name in graph.tensors for name in outputs):
        return
    import onnx

    try:
        model = onnx.shape_inference.infer_shapes(_stripped(graph, opset), data_prop=True)
    except Exception as error:  # onnx raises C++ exception types without a common Python base
        raise GraphError("shape inference failed", place=graph.name, found=str(error)[:200]) from error
    for info in (*model.graph.value_info, *model.graph.output):
        dims = info.type.tensor_type.shape.dim
        known = info.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims)
        if known and info.name not in graph.tensors:
            kind = next((n for n, t in _INDEX_TYPES.items() if t == info.type.tensor_type.elem_type), "float32")
            graph.tensors[info.name] = Tensor(info.name, tuple(int(d.dim_value) for d in dims), kind)
    missing = next((name for name in outputs if name not in graph.tensors), None)
    if missing is not None:
        raise GraphError(
            "the shape of a tensor cannot be inferred",
            place=missing,
            remedy="export with static shapes, or cut the graph before this operator",
        )


def _stripped(graph: Graph, opset: int) -> onnx.ModelProto:
    from onnx import helper, numpy_helper

    inputs, initializers = [], []
    produced = {name for node in graph.nodes for name in node.outputs}
    read = {name for node in graph.nodes for name in node.inputs}
    for name, tensor in graph.tensors.items():
        if name in produced or (name not in read and name not in graph.inputs):
            continue
        value = graph.values.get(name)
        if value is not None and tensor.constant and value.dtype.kind in "ifb":
            exact = value if str(value.dtype) in _INDEX_TYPES else value.astype(np.float32)
            initializers.append(numpy_helper.from_array(np.array(exact, order="C"), name))
        else:
            kind = _INDEX_TYPES.get(tensor.dtype, 1)
            inputs.append(helper.make_tensor_value_info(name, kind, tensor.shape))
    nodes = [_plain(node) for node in graph.nodes]
    outputs = [helper.make_empty_tensor_value_info(name) for name in graph.outputs]
    body = helper.make_graph(nodes, "shapes", inputs, outputs, initializers)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)])


def _plain(node: Node) -> onnx.NodeProto:
    from onnx import helper

    if node.op in _SAME_SHAPE:
        return helper.make_node("Identity", node.inputs[:1], node.outputs[:1])
    attributes = {k: v for k, v in node.attributes.items() if k[0] != "_" and v != []}
    return helper.make_node(node.op, node.inputs, node.outputs, node.name, **attributes)
