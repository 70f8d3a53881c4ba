"""Missing shapes, through onnx's own inference on a stripped copy: no weights, no Q/DQ, plain operators only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError
from n6convert.graph.operators import CONVERSIONS
from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Tensor

if TYPE_CHECKING:
    import onnx

__all__ = ["infer"]

_SAME_SHAPE = {"Gelu", "FastGelu", "QuickGelu", "BiasGelu", "Swish"}
"""Inferred as Identity: their first input decides."""

_PARAMETERS = 16
"""Float constants up to this size may be parameters that decide a shape (the scales of a Resize)."""

_VALUE_LIMIT = 4096
_ROUNDS = 64
"""Chains of Shape -> ... -> Reshape that onnx's data propagation misses are resolved one per round."""

_INDEX_TYPES = {"int64": 7, "int32": 6, "bool": 9}


def infer(graph: Graph, opset: int) -> None:
    """Fill in the shapes that the file does not state.

    Raises:
        GraphError: onnx cannot infer them (dynamic shapes, unknown operators, inconsistent sizes).
    """
    outputs = [name for node in graph.nodes for name in node.outputs if name]
    sources = _sources(graph)
    for _ in range(_ROUNDS):
        if all(name in graph.tensors for name in outputs):
            return
        before = len(graph.tensors)
        _infer_once(graph, opset, sources)
        if not _evaluate(graph, opset) and len(graph.tensors) == before:
            break
    missing = next((name for name in outputs if name not in graph.tensors), None)
    if missing is not None:
        raise GraphError(
            "the shape of a tensor cannot be inferred",
            place=missing,
            remedy="export with static shapes, or cut the graph before this operator",
        )


def _sources(graph: Graph) -> dict[str, str]:
    """Results of conversions -> the tensor that was converted: it has the same shape."""
    sources: dict[str, str] = {}
    for node in graph.nodes:
        if node.op in CONVERSIONS and node.inputs:
            sources[node.outputs[0]] = sources.get(node.inputs[0], node.inputs[0])
    return sources


def _infer_once(graph: Graph, opset: int, sources: dict[str, str]) -> None:
    from n6convert.graph.canonical import inferred

    try:
        model = inferred(_stripped(graph, opset, sources), data=True)
    except Exception as error:  # onnx raises C++ exception types without a common Python base
        raise GraphError("shape inference failed", place=graph.name, found=str(error)[:200]) from error
    for info in (*model.graph.value_info, *model.graph.output):
        dims = info.type.tensor_type.shape.dim
        known = info.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims)
        if known and info.name not in graph.tensors:
            kind = next((n for n, t in _INDEX_TYPES.items() if t == info.type.tensor_type.elem_type), "float32")
            graph.tensors[info.name] = Tensor(info.name, tuple(int(d.dim_value) for d in dims), kind)
    for name, source in sources.items():
        if source in graph.tensors and name not in graph.tensors:
            graph.tensors[name] = Tensor(name, graph.tensors[source].shape, "float32")


def _evaluate(graph: Graph, opset: int) -> bool:
    """Compute the integer chains behind dynamic Reshapes; True when a new value was found."""
    found = False
    for node in graph.nodes:
        if len(node.outputs) != 1 or node.outputs[0] in graph.values or node.op in CONVERSIONS:
            continue
        value = _value(graph, node, opset)
        if value is not None and value.size <= (_VALUE_LIMIT if value.dtype.kind in "iub" else _PARAMETERS):
            graph.values[node.outputs[0]] = value
            graph.tensors[node.outputs[0]] = Tensor(node.outputs[0], value.shape, str(value.dtype), constant=True)
            found = True
    return found


def _value(graph: Graph, node: Node, opset: int) -> NDArray[Any] | None:
    if node.op in ("Shape", "Size"):
        tensor = graph.tensors.get(node.inputs[0])
        return None if tensor is None else _measured(node, tensor)
    if not node.inputs or not all(name in graph.values for name in node.inputs if name):
        return None
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    feeds = {name: graph.values[name] for name in node.inputs if name}
    inputs = [helper.make_tensor_value_info(name, 1, None) for name in feeds]
    outputs = [helper.make_empty_tensor_value_info(node.outputs[0])]
    body = helper.make_graph([_plain(node, {})], "value", inputs, outputs)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)])
    try:
        results: Any = ReferenceEvaluator(model).run(None, feeds)
        return np.asarray(results[0])
    except Exception:  # an operator the reference does not know: its shape stays unknown and is reported as such
        return None


def _measured(node: Node, tensor: Tensor) -> NDArray[Any]:
    if node.op == "Size":
        return np.array(tensor.elements, np.int64)
    first, last = node.attributes.get("start", 0), node.attributes.get("end")
    return np.array(tensor.shape[first:last], np.int64)


def _stripped(graph: Graph, opset: int, sources: dict[str, str]) -> onnx.ModelProto:
    from onnx import helper, numpy_helper

    nodes = [_plain(node, sources) for node in graph.nodes if _open(graph, node)]
    produced = {name for node in nodes for name in node.output}
    inputs, initializers = [], []
    for name in dict.fromkeys(name for node in nodes for name in node.input if name and name not in produced):
        value, tensor = graph.values.get(name), graph.tensors.get(name)
        if value is not None and (value.dtype.kind in "ib" or value.size <= _PARAMETERS):
            exact = value if str(value.dtype) in _INDEX_TYPES else value.astype(np.float32)
            initializers.append(numpy_helper.from_array(np.array(exact, order="C"), name))
        elif tensor is not None:
            kind = _INDEX_TYPES.get(tensor.dtype, 1)
            inputs.append(helper.make_tensor_value_info(name, kind, tensor.shape))
    finals = dict.fromkeys(sources.get(name, name) for name in graph.outputs)
    outputs = [helper.make_empty_tensor_value_info(name) for name in finals if name in produced]
    body = helper.make_graph(nodes, "shapes", inputs, outputs, initializers)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)])


def _open(graph: Graph, node: Node) -> bool:
    """True when inference still needs the node: an unknown shape, or an integer that a later shape may depend on."""
    if node.op in CONVERSIONS or all(name in graph.values for name in node.outputs):
        return False
    known = [graph.tensors.get(name) for name in node.outputs if name]
    return any(t is None or (t.dtype in _INDEX_TYPES and t.elements <= _VALUE_LIMIT) for t in known)


def _plain(node: Node, sources: dict[str, str]) -> onnx.NodeProto:
    from onnx import helper

    inputs = [sources.get(name, name) for name in node.inputs]
    if node.op in _SAME_SHAPE:
        return helper.make_node("Identity", inputs[:1], node.outputs[:1])
    attributes: dict[str, Any] = {str(k): v for k, v in node.attributes.items() if k[0] != "_" and v != []}
    return helper.make_node(node.op, inputs, node.outputs, node.name, **attributes)
