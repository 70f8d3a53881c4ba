"""INT8 models with some of their parts exact: roughly the most that a method can bring that makes those parts finer.

Running one costs an inference over the held-back samples, where trying the method walks over the calibration samples
several times.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import numpy as np
import onnx_ir as ir

from n6convert.graph.copying import copied
from n6convert.graph.patterns.layers import layers_by_name
from n6convert.quantization.grid.affine import CODE_MAX, CODE_MIN
from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.prepare.operator_forms import constant, new_constant

__all__ = [
    "changed_tensors",
    "planned_name",
    "with_exact_tensors",
    "with_exact_weights",
    "with_pairs",
    "with_rounded_weights",
]


def with_exact_weights(prepared: ir.Model, model: ir.Model) -> ir.Model:
    """A copy of the INT8 model whose layers have the weights of the float model; biases stay as they are.

    Args:
        prepared: float, with layers of the same names.
        model: INT8.
    """
    copy = copied(model)
    float_layers = layers_by_name(prepared.graph)
    for layer in layers_of(copy):
        exact = new_constant(copy.graph, f"{layer.name}_exact_weight", constant(float_layers[layer.name].inputs[1]))
        layer.node.replace_input_with(1, exact)
    return copy


def with_rounded_weights(prepared: ir.Model, model: ir.Model) -> ir.Model:
    """A copy of the float model whose layers have the weights of the INT8 model; nothing else is rounded.

    Args:
        prepared: float, with layers of the same names.
        model: INT8.
    """
    copy = copied(prepared)
    nodes = layers_by_name(copy.graph)
    for layer in layers_of(model):
        weight = layer.weight().astype(np.float32)
        nodes[layer.name].replace_input_with(1, new_constant(copy.graph, f"{layer.name}_rounded_weight", weight))
    return copy


def with_exact_tensors(model: ir.Model, names: Collection[str]) -> ir.Model:
    """A copy of the INT8 model in which the named tensors are not rounded."""
    return with_pairs(model, lambda name: name not in names)


def changed_tensors(before: ir.Model, after: ir.Model) -> set[str]:
    """Tensors of a float model that another form of it computes otherwise or not at all, and those made from them."""
    kept = {_how(node) for node in after.graph}
    changed = {v for node in before.graph if _how(node) not in kept for v in (*node.outputs, *node.inputs[:1]) if v}
    readers = [node for value in changed for node in value.consumers()]
    return {v.name or "" for v in (*changed, *(v for node in readers for v in node.outputs))}


def _how(node: ir.Node) -> tuple[str | None, ...]:
    return node.op_type, *(v.name if v is not None else None for v in (*node.inputs, *node.outputs))


def with_pairs(model: ir.Model, keep: Callable[[str], bool]) -> ir.Model:
    """A copy of the INT8 model in which only the pairs of the chosen tensors round.

    A grid that starts at 0 may stand for a Relu or Clip, so its bounds stay where its rounding goes.
    """
    copy = copied(model)
    for node in list(copy.graph):
        if node.op_type != "QuantizeLinear" or node.inputs[0] is None or keep(planned_name(node.inputs[0])):
            continue
        source = _clipped(copy.graph, node)
        for user in list(node.outputs[0].consumers()):
            if not user.outputs[0].is_graph_output():
                user.outputs[0].replace_all_uses_with(source)
    return copy


def planned_name(value: ir.Value) -> str:
    """The name under which a plan knows what a quantizer reads."""
    return (value.name or "").removesuffix("_QuantizeLinear_Input")


def _clipped(graph: ir.Graph, quantize: ir.Node) -> ir.Value:
    """What a quantizer reads, inside the grid's bounds where the grid starts at 0."""
    source = quantize.inputs[0]
    scale, zero_point = (float(constant(v)) for v in quantize.inputs[1:3])
    assert source is not None
    if zero_point != CODE_MIN:
        return source
    bounds = (0.0, scale * (CODE_MAX - CODE_MIN))
    limits = [new_constant(graph, f"{source.name}_bound", np.array(b, np.float32)) for b in bounds]
    clip = ir.node("Clip", [source, *limits], name=f"{source.name}_clip")
    clip.outputs[0].name = f"{source.name}_clipped"
    graph.insert_before(quantize, clip)
    return clip.outputs[0]
