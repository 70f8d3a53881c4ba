"""An ``onnx_ir`` model in memory to :class:`~n6convert.npu.graph.Graph`, without the way through protobuf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Tensor
from n6convert.npu.onnx_reader import (
    DTYPES,
    FILLED,
    VALUE_LIMIT,
    add_constant_attribute,
    assembled,
    input_tensor,
)

__all__ = ["read_ir"]


def read_ir(model: ir.Model) -> Graph:
    """The same as :func:`~n6convert.npu.onnx_reader.read_proto` makes of the model's protobuf.

    Args:
        model: without functions; not changed.

    Raises:
        GraphError: damaged or not static.
    """
    graph = model.graph
    tensors: dict[str, Tensor] = {}
    values: dict[str, NDArray[Any]] = {}
    for name, value in graph.initializers.items():
        if value.const_value is not None:
            _add_constant(name, value.const_value, tensors, values)
    inputs = []
    for value in graph.inputs:
        if value.name not in tensors:
            tensor = input_tensor(value.name or "", _sizes(value), _code(value), _words(value))
            tensors[tensor.name] = tensor
            inputs.append(tensor.name)
    nodes = list(_nodes(graph, tensors, values))
    inner = (v for node in graph for v in node.outputs if v.name and not v.is_graph_output())
    known = (*inner, *graph.outputs)
    shapes = ((v.name or "", _sizes(v) if v.shape is not None else None, _code(v)) for v in known)
    outputs = tuple(v.name or "" for v in graph.outputs)
    opset = next((v for domain, v in model.opset_imports.items() if domain in ("", "ai.onnx")), 13)
    return assembled(Graph(graph.name or "", nodes, tensors, values, tuple(inputs), outputs), shapes, opset)


def _sizes(value: ir.Value) -> list[int]:
    """Fixed sizes, -1 for open ones; some exporters write numbers where names of open sizes belong."""
    words = [str(word or "") for word in _words(value)]
    return [int(word) if word.isdecimal() else -1 for word in words]


def _words(value: ir.Value) -> list[Any]:
    return [d if isinstance(d, int) else d.value for d in value.shape or ()]


def _code(value: ir.Value) -> int:
    """Number of the element type, 0 where it is not known."""
    return int(value.dtype.value) if value.dtype is not None else 0


def _add_constant(
    name: str, tensor: ir.TensorProtocol, tensors: dict[str, Tensor], values: dict[str, NDArray[Any]]
) -> None:
    shape = tuple(int(d) for d in tensor.shape.numpy())
    tensors[name] = Tensor(name, shape, DTYPES.get(int(tensor.dtype.value), "other"), constant=True)
    stored = not isinstance(tensor, ir.ExternalTensor) and tensor.dtype != ir.DataType.STRING
    if stored and tensor.size <= VALUE_LIMIT:
        values[name] = np.array(tensor.numpy())


def _nodes(graph: ir.Graph, tensors: dict[str, Tensor], values: dict[str, NDArray[Any]]) -> Iterator[Node]:
    for index, node in enumerate(graph):
        name = node.name or f"{node.op_type}_{index}"
        outputs = tuple(v.name or "" for v in node.outputs)
        if node.op_type == "Constant" and len(outputs) == 1:
            given = node.attributes.get("value")
            if given is not None:
                _add_constant(outputs[0], given.as_tensor(), tensors, values)
            else:
                add_constant_attribute(outputs[0], _attributes(node), tensors, values)
            continue
        inputs = tuple("" if v is None else v.name or "" for v in node.inputs)
        yield Node(name, node.op_type, inputs, outputs, _attributes(node), (name,))


def _attributes(node: ir.Node) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, attribute in node.attributes.items():
        kind = None if attribute.is_ref() else attribute.type
        if kind == ir.AttributeType.FLOAT:
            found[name] = float(np.float32(attribute.value))
        elif kind == ir.AttributeType.INT:
            found[name] = int(attribute.value)
        elif kind == ir.AttributeType.STRING:
            found[name] = attribute.value
        elif kind == ir.AttributeType.TENSOR and node.op_type in FILLED and attribute.value.size <= 1:
            found[name] = ir.to_proto(attribute.value)
        elif kind == ir.AttributeType.FLOATS:
            found[name] = [float(np.float32(v)) for v in attribute.value]
        elif kind == ir.AttributeType.INTS:
            found[name] = [int(v) for v in attribute.value]
    return found
