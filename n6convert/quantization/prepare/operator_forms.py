"""Exact rewrites into the few operator forms that the quantizer handles."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import QuantizationError
from n6convert.graph.initializers import add_initializer
from n6convert.graph.query import is_constant, place_of
from n6convert.quantization.prepare.batch_norm import affine, fold_batch_norm, remember

__all__ = ["constant", "new_constant", "normalize", "set_constant", "static_dims", "take_over"]


def normalize(graph: ir.Graph) -> None:
    """Gemm with its bias a vector and no more; BatchNormalization folded, or Mul and Add; Pad without its zero."""
    for node in list(graph):
        if node.op_type == "Gemm":
            _plain_gemm(graph, node)
        elif node.op_type in ("Conv", "ConvTranspose"):
            _add_bias(graph, node)
        elif node.op_type == "BatchNormalization":
            _batch_norm(graph, node)
        elif node.op_type == "Pow":
            _square(graph, node)
        elif node.op_type == "LayerNormalization":
            _layer_norm(graph, node)
        elif node.op_type == "Pad":
            _drop_zero_value(node)
        elif node.op_type == "Dropout":
            _no_dropout(graph, node)


def constant(value: ir.Value | None) -> NDArray[np.float32]:
    """The numbers of an initializer."""
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def set_constant(value: ir.Value, array: NDArray[np.float32]) -> None:
    """Replace the numbers of an initializer."""
    value.const_value = ir.Tensor(np.asarray(array, order="C"), name=value.name)
    value.shape = ir.Shape(array.shape)


def static_dims(shape: ir.Shape) -> list[int]:
    """The dimensions of a static shape."""
    return [d for d in shape if isinstance(d, int)]


def new_constant(graph: ir.Graph, name: str, array: NDArray[Any]) -> ir.Value:
    """A new initializer with a free name.

    Args:
        graph: gets the initializer.
        name: of the initializer, unless it is taken.
        array: its values.
    """
    while name in graph.initializers:
        name += "_"
    return add_initializer(graph, name, array)


def _plain_gemm(graph: ir.Graph, node: ir.Node) -> None:
    alpha, beta = node.attributes.get_float("alpha", 1.0), node.attributes.get_float("beta", 1.0)
    weight, bias = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    if weight is None or not is_constant(weight) or (bias is not None and not is_constant(bias)):
        raise QuantizationError(
            "Gemm needs a constant matrix and a constant bias",
            place=place_of(node),
            limit="B and C are initializers",
            found="an activation",
            remedy="write the product of two activations as MatMul and the sum as Add",
        )
    if alpha != 1.0:
        set_constant(weight, constant(weight) * np.float32(alpha))
    columns = constant(weight).shape[0 if node.attributes.get_int("transB", 0) else 1]
    rows = bias is not None and constant(bias).ndim == 2 and constant(bias).shape[0] > 1
    if bias is None or rows:
        node.resize_inputs(3)
        node.replace_input_with(2, new_constant(graph, f"{node.name}_bias", np.zeros(columns, np.float32)))
        if rows:
            _sum_apart(graph, node, constant(bias) * np.float32(beta))
    else:
        row = np.broadcast_to(constant(bias) * np.float32(beta), (*constant(bias).shape[:-1], columns))
        set_constant(bias, row.reshape(-1))
    for name in ("alpha", "beta"):
        node.attributes.pop(name, None)


def _sum_apart(graph: ir.Graph, gemm: ir.Node, addend: NDArray[np.float32]) -> None:
    """Add what is no bias, because rows differ in it, behind the product."""
    output = gemm.outputs[0]
    readers, is_output = list(output.uses()), output.is_graph_output()
    add = ir.node("Add", [output, new_constant(graph, f"{gemm.name}_addend", addend)], name=f"{gemm.name}_sum")
    total = add.outputs[0]
    total.type, total.shape, total.name, output.name = output.type, output.shape, output.name, f"{output.name}_product"
    graph.insert_after(gemm, add)
    for reader, index in readers:
        reader.replace_input_with(index, total)
    if is_output:
        graph.outputs[list(graph.outputs).index(output)] = total


def _add_bias(graph: ir.Graph, node: ir.Node) -> None:
    """A bias of zeros where there is none, so that corrections have a place."""
    weight = node.inputs[1]
    if not is_constant(weight) or (len(node.inputs) > 2 and node.inputs[2] is not None):
        return
    groups = node.attributes.get_int("group", 1)
    channels = constant(weight).shape[1] * groups if node.op_type == "ConvTranspose" else constant(weight).shape[0]
    node.resize_inputs(3)
    node.replace_input_with(2, new_constant(graph, f"{node.name}_bias", np.zeros(channels, np.float32)))


def _batch_norm(graph: ir.Graph, node: ir.Node) -> None:
    """Folded into the convolution before it, else ``x * a + b``, per channel."""
    source, output = node.inputs[0], node.outputs[0]
    remember(graph, node)
    if fold_batch_norm(node):
        return
    a, b = affine(node)
    shape = (-1, *[1] * (len(output.shape or (0, 0)) - 2))
    name = node.name or output.name
    scale = new_constant(graph, f"{name}_scale", a.reshape(shape).astype(np.float32))
    shift = new_constant(graph, f"{name}_shift", b.reshape(shape).astype(np.float32))
    multiply = ir.node("Mul", [source, scale], name=f"{name}_mul")
    multiply.outputs[0].name = f"{name}_mul_output"
    multiply.outputs[0].type, multiply.outputs[0].shape = output.type, output.shape
    add = ir.node("Add", [multiply.outputs[0], shift], name=f"{name}_add")
    take_over(graph, node, [multiply, add])


def take_over(graph: ir.Graph, node: ir.Node, nodes: list[ir.Node]) -> None:
    """Put nodes in place of one node; the last one's output gets the node's output name.

    Args:
        graph: that holds the node.
        node: that goes.
        nodes: that come, in order.
    """
    old, new = node.outputs[0], nodes[-1].outputs[0]
    new.type, new.shape = old.type, old.shape
    name, old.name = old.name, f"{old.name}_old"
    new.name = name
    graph.insert_before(node, nodes)
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.remove(node, safe=True)


def _no_dropout(graph: ir.Graph, node: ir.Node) -> None:
    """Its input instead, under the name of the output where it is one of the graph's."""
    if node.outputs[0].is_graph_output():
        take_over(graph, node, [ir.node("Identity", node.inputs[:1], name=node.name)])
    else:
        node.outputs[0].replace_all_uses_with(node.inputs[0])  # type: ignore[arg-type]


def _square(graph: ir.Graph, node: ir.Node) -> None:
    if (
        is_constant(node.inputs[1])
        and constant(node.inputs[1]).size == 1
        and float(constant(node.inputs[1]).item()) == 2
    ):
        take_over(graph, node, [ir.node("Mul", [node.inputs[0], node.inputs[0]], name=node.name)])


def _layer_norm(graph: ir.Graph, node: ir.Node) -> None:
    """The fused operator in primitive steps: left whole, its steps would run in float ([#layernorm])."""
    source, shape = node.inputs[0], node.outputs[0].shape
    if source is None or shape is None or any(v.name and v.uses() for v in node.outputs[1:]):
        return
    rank, first = len(shape), node.attributes.get_int("axis", -1)
    axes = list(range(first if first >= 0 else rank + first, rank))
    name = node.name or node.outputs[0].name
    epsilon = new_constant(graph, f"{name}_epsilon", np.array(node.attributes.get_float("epsilon", 1e-5), np.float32))
    reduced = ir.Shape([1 if i in axes else d for i, d in enumerate(shape)])
    nodes: list[ir.Node] = []

    def step(op: str, inputs: list[ir.Value | None], dims: ir.Shape, **attributes: list[int] | int) -> ir.Value:
        new = ir.node(op, inputs, attributes or None, name=f"{name}_{len(nodes)}_{op}")
        nodes.append(new)
        new.outputs[0].name, new.outputs[0].type, new.outputs[0].shape = f"{new.name}_output", source.type, dims
        return new.outputs[0]

    mean = step("ReduceMean", [source], reduced, axes=axes, keepdims=1)
    centered = step("Sub", [source, mean], shape)
    variance = step("ReduceMean", [step("Mul", [centered, centered], shape)], reduced, axes=axes, keepdims=1)
    deviation = step("Sqrt", [step("Add", [variance, epsilon], reduced)], reduced)
    scaled = step("Mul", [step("Div", [centered, deviation], shape), node.inputs[1]], shape)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        step("Add", [scaled, node.inputs[2]], shape)
    take_over(graph, node, nodes)


def _drop_zero_value(node: ir.Node) -> None:
    if len(node.inputs) > 2 and is_constant(node.inputs[2]) and not constant(node.inputs[2]).any():
        node.replace_input_with(2, None)
        node.resize_inputs(2)
