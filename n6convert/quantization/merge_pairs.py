"""Two convolutions with nothing between them as one: ``P (D x + d) + p = (P D) x + (P d + p)``.

A separable convolution without an activation after its depthwise part has its worst tensor between the two: rounded to
8 bits, with the long tails of an edge filter. On large maps with few channels, which the NPU reads slower than it
multiplies, the one is predicted faster as well; with many channels it is far slower. Its weights are products that
nobody trained, of very unlike sizes, so it takes even channels, corrected biases and second-order rounding before it is
judged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.normalize import constant, new_constant, take_over
from n6convert.quantization.roles import is_constant

__all__ = ["Milliseconds", "merge_pairs"]

#: predicted time of a model
Milliseconds = Callable[[ir.Model], float]
#: of the whole time: what one rounding less may cost
_DEAR = 0.01
#: weights of the one at most: reading more from flash takes longer than any two convolutions that it could replace
_LARGEST = 1 << 22


def merge_pairs(model: ir.Model, milliseconds: Milliseconds) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy in which those pairs are merged that make the whole graph faster or hardly slower, and a record of each.

    Args:
        model: prepared float model.
        milliseconds: asked for the whole graph, since zero points and what shares an epoch decide as well.
    """
    between = [node.outputs[0].name for node in model.graph if _reader(node)]
    records = []
    whole = before = milliseconds(model) if between else 0.0
    for name in between:
        trial = model.clone()
        first = next(node for node in trial.graph if node.outputs[0].name == name)
        second = _reader(first)
        assert second is not None
        _merge(trial.graph, first, second)
        after = milliseconds(trial)
        if after < before + _DEAR * whole:
            records.append({"convolution": second.name, "saved_ms": round(before - after, 4)})
            model, before = trial, after
    return model, records


def _reader(first: ir.Node) -> ir.Node | None:
    """The dense 1x1 convolution that alone reads a convolution; None without one."""
    if first.op_type != "Conv" or not is_constant(first.inputs[1]):
        return None
    middle = first.outputs[0]
    uses = list(middle.uses())
    if len(uses) != 1 or middle.is_graph_output():
        return None
    second, index = uses[0]
    if second.op_type != "Conv" or index != 0 or not is_constant(second.inputs[1]):
        return None
    weight = constant(second.inputs[1])
    plain = set(weight.shape[2:]) == {1} and second.attributes.get_int("group", 1) == 1
    moves = set(second.attributes.get_ints("strides", [1])) != {1} or any(second.attributes.get_ints("pads", []))
    size = weight.shape[0] * constant(first.inputs[1])[0].size * first.attributes.get_int("group", 1)
    return second if plain and not moves and size <= _LARGEST else None


def _merge(graph: ir.Graph, first: ir.Node, second: ir.Node) -> None:
    """Put the one in place of the two, under the name of the second."""
    groups = first.attributes.get_int("group", 1)
    points = constant(second.inputs[1]).reshape(constant(second.inputs[1]).shape[:2])
    kernels = np.split(constant(first.inputs[1]), groups)
    parts = [_product(p, k) for p, k in zip(np.split(points, groups, axis=1), kernels, strict=True)]
    bias = _bias(second) + points @ _bias(first)
    constants = [
        new_constant(graph, f"{second.name}_merged_weight", np.concatenate(parts, axis=1)),
        new_constant(graph, f"{second.name}_merged_bias", bias.astype(np.float32)),
    ]
    attributes = [a for name, a in first.attributes.items() if name != "group"]
    one = ir.Node("", "Conv", [first.inputs[0], *constants], attributes, name=second.name)
    take_over(graph, second, [one])
    graph.remove(first, safe=True)


def _bias(node: ir.Node) -> NDArray[np.float32]:
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return constant(node.inputs[2])
    return np.zeros(constant(node.inputs[1]).shape[0], np.float32)


def _product(points: NDArray[np.float32], kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    merged: NDArray[np.float32] = np.einsum("om,mi...->oi...", points.astype(np.float64), kernels).astype(np.float32)
    return merged
