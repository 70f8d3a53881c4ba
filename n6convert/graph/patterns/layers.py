"""Layers with constant weights: by name, and what they add to each channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.operators import LAYERS
from n6convert.graph.query import Array, attribute, constant_of, operand, shape_of

__all__ = ["bias_of", "layers_by_name", "with_bias"]


def layers_by_name(graph: ir.Graph) -> dict[str, ir.Node]:
    """The convolutions and dense layers of a graph."""
    return {node.name or "": node for node in graph if node.op_type in LAYERS}


def bias_of(node: ir.Node, shape: Sequence[int]) -> tuple[int, Array] | None:
    """The channels' axis of an Add, Gemm or Conv, and the constant that it adds, one number per channel.

    Args:
        node: an Add, Gemm or Conv.
        shape: of its output.

    Returns:
        None for nodes that are no layer.
    """
    axis = 1 if node.op_type == "Conv" else len(shape) - 1
    bias = _added(node, shape[axis])
    return None if bias is None else (axis, bias)


def _added(node: ir.Node, channels: int) -> Array | None:
    if node.op_type == "Add":
        pair = operand(node, constant=True)
        value = constant_of(pair[1]) if pair is not None else None
        fits = value is not None and value.size in (1, channels) and (value.ndim == 0 or value.shape[-1] == value.size)
        return np.broadcast_to(value.reshape(-1), (channels,)) if fits and value is not None else None
    if constant_of(node.inputs[1]) is None or (node.op_type == "Gemm" and attribute(node, "beta", 1.0) != 1.0):
        return None
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return np.zeros(channels, np.float32)
    value = constant_of(node.inputs[2])
    return (
        np.broadcast_to(value.reshape(-1), (channels,)) if value is not None and value.size in (1, channels) else None
    )


def with_bias(build: Builder, node: ir.Node, bias: Array) -> Sequence[ir.Value]:
    """The result of the same layer with another bias.

    Args:
        build: makes the nodes.
        node: of which :func:`bias_of` is known.
        bias: one number per channel.
    """
    inputs, constant = list(node.inputs), build.constant(bias)
    if node.op_type == "Add":
        inputs = [next(v for v in inputs if constant_of(v) is None), constant]
    else:
        inputs = [*inputs[:2], constant]
    attributes = {k: attribute(node, k) for k in node.attributes}
    return build.node(node.op_type, inputs, [shape_of(node.outputs[0]) or ()], **attributes)
