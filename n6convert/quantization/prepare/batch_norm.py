"""BatchNormalization: folded into the convolution before it, its statistics kept.

``beta`` and ``|gamma|`` are the mean and the standard deviation of each channel over the training images: what bias
correction without data needs. They travel in the graph's metadata and never reach the INT8 file.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.patterns.conv import batch_norm_affine, scaled_outputs
from n6convert.graph.query import is_constant

__all__ = ["affine", "fold_batch_norm", "forget", "remember", "rescale", "statistics"]

_KEY = "n6convert.batch_norm"
Vector = NDArray[np.float64]


def fold_batch_norm(node: ir.Node) -> bool:
    """Fold into the convolution that alone feeds the node, in place; False where there is none.

    The convolution must have a bias. The node is left without uses.
    """
    source = node.inputs[0]
    layer = source.producer() if source is not None else None
    if source is None or layer is None or layer.op_type not in ("Conv", "ConvTranspose"):
        return False
    weight, bias = layer.inputs[1], layer.inputs[2] if len(layer.inputs) > 2 else None
    if len(source.uses()) > 1 or source.is_graph_output() or not is_constant(weight) or not is_constant(bias):
        return False
    factor, shift = affine(node)
    _set(weight, scaled_outputs(layer, _numbers(weight), factor))
    _set(bias, _numbers(bias) * factor + shift)
    node.outputs[0].replace_all_uses_with(source, replace_graph_outputs=True)
    name, node.outputs[0].name = node.outputs[0].name, f"{node.outputs[0].name}_folded"
    source.name = name
    return True


def affine(node: ir.Node) -> tuple[Vector, Vector]:
    """The node as ``x * factor + shift``, by channel."""
    found = batch_norm_affine(node)
    assert found is not None
    return found


def remember(graph: ir.Graph, node: ir.Node) -> None:
    """Note the node's statistics under its output's name."""
    known = json.loads(graph.metadata_props.get(_KEY, "{}"))
    known[node.outputs[0].name] = [_numbers(node.inputs[2]).tolist(), np.abs(_numbers(node.inputs[1])).tolist()]
    graph.metadata_props[_KEY] = json.dumps(known)


def statistics(graph: ir.Graph) -> dict[str, tuple[Vector, Vector]]:
    """Mean and standard deviation by channel, by tensor name."""
    known = json.loads(graph.metadata_props.get(_KEY, "{}"))
    return {name: (np.array(mean), np.array(deviation)) for name, (mean, deviation) in known.items()}


def rescale(graph: ir.Graph, factor_of: Callable[[str], Vector]) -> None:
    """Divide the statistics of each tensor by its channels' factors."""
    known = statistics(graph)
    if known:
        scaled = {n: [(part / factor_of(n)).tolist() for part in parts] for n, parts in known.items()}
        graph.metadata_props[_KEY] = json.dumps(scaled)


def forget(graph: ir.Graph) -> None:
    """Drop the notes."""
    graph.metadata_props.pop(_KEY, None)


def _numbers(value: ir.Value | None) -> Vector:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy().astype(np.float64)


def _set(value: ir.Value | None, array: NDArray[Any]) -> None:
    assert value is not None
    value.const_value = ir.Tensor(array.astype(np.float32), name=value.name)
