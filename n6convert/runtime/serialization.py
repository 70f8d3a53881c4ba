"""The bytes that onnxruntime reads of a graph: of all of it, or of what some tensors are made from, without a copy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import onnx
import onnx_ir as ir
from onnx_ir import serde

from n6convert.graph.copying import is_flat
from n6convert.graph.extract import makers, with_outputs

__all__ = ["Part", "leading_to", "serialized", "whole"]


@dataclass(frozen=True)
class Part:
    """Some nodes of a model, in order.

    Attributes:
        model: whose inputs they may all read.
        nodes: in the graph's order.
        outputs: that somebody wants.
        constants: that the nodes read.
    """

    model: ir.Model
    nodes: Sequence[ir.Node]
    outputs: Sequence[ir.Value]
    constants: Sequence[ir.Value]


def whole(model: ir.Model) -> Part:
    """All of a model."""
    known = [v for v in model.graph.initializers.values() if v.const_value is not None]
    constants = [v for v in known if v.uses() or v.is_graph_output()]  # onnxruntime forgets others before it borrows
    return Part(model, list(model.graph), list(model.graph.outputs), constants)


def leading_to(model: ir.Model, names: Sequence[str]) -> Part:
    """What the named tensors are made from. Raises KeyError for a name that the graph has not got."""
    if not is_flat(model):
        return whole(with_outputs(model, names))
    values = {v.name: v for v in (*model.graph.inputs, *(v for node in model.graph for v in node.outputs))}
    outputs = [values[name] for name in names]
    needed = makers(outputs)
    nodes = [node for node in model.graph if node in needed]
    read = {v for node in nodes for v in node.inputs}
    return Part(model, nodes, outputs, [v for v in whole(model).constants if v in read])


def serialized(part: Part, lent: Collection[str] = ()) -> bytes:
    """The part without the types and shapes of inner tensors, which onnxruntime finds itself.

    Args:
        part: of a model.
        lent: constants that are only named, since the session borrows them.
    """
    model = part.model
    if model.functions:
        return bytes(ir.to_proto(model).SerializeToString())
    proto = ir.to_proto(ir.Model(ir.Graph([], [], nodes=[], name="main"), ir_version=model.ir_version))
    del proto.opset_import[:]
    for domain, version in model.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    graph = proto.graph
    for value in model.graph.inputs:
        serde.serialize_value_into(graph.input.add(), value)
    for value in part.outputs:
        serde.serialize_value_into(graph.output.add(), value)
    for value in part.constants:
        _add_constant(graph, value, borrowed=value.name in lent)
    for node in part.nodes:
        serde.serialize_node_into(graph.node.add(), node)
    return bytes(proto.SerializeToString())


def _add_constant(graph: onnx.GraphProto, value: ir.Value, *, borrowed: bool) -> None:
    """Add a constant, or a mere name of one; a tensor of another file goes along, whose place nobody would find."""
    tensor = value.const_value
    assert tensor is not None
    if borrowed:
        shape = ir.Shape(tensor.numpy().shape)
        tensor = ir.ExternalTensor("lent", 0, tensor.nbytes, tensor.dtype, shape=shape, name="")
    elif isinstance(tensor, ir.ExternalTensor):
        tensor = ir.tensor(tensor.numpy(), dtype=tensor.dtype)
    added = graph.initializer.add()
    serde.serialize_tensor_into(added, tensor)
    added.name = value.name or ""
