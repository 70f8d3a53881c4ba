"""Two convolutions with nothing between them as one: ``P (D x + d) + p = (P D) x + (P d + p)``.

Groups of channels side by side read one convolution each; then each of them is merged with it.

A separable convolution without an activation after its depthwise part has its worst tensor between the two: rounded to
8 bits, with the long tails of an edge filter. On large maps with few channels, which the NPU reads slower than it
multiplies, the one is predicted faster as well; with many channels it is far slower. Its weights are products that
nobody trained, of very unlike sizes, so it takes even channels, corrected biases and second-order rounding before it is
judged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import cut
from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant, new_constant, take_over

__all__ = ["Milliseconds", "merge_across", "merge_pairs", "slower_alone"]

#: predicted time of a model
Milliseconds = Callable[[ir.Model], float]
#: of the least time that pairs leave: what fewer roundings may cost
_DEAR = 0.01
#: weights of the one at most: reading more from flash takes longer than any two convolutions that it could replace
_LARGEST = 1 << 22
#: and at most so many for one of the two: means that are spread again, and other low ranks, stay two
_MORE = 32
#: pairs that are tried in the whole graph, each of which takes as long as quantizing it
_TRIED = 48


def merge_pairs(
    model: ir.Model,
    milliseconds: Milliseconds,
    quantized: Callable[[ir.Model], ir.Model],
    alone: Mapping[str, float],
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy in which pairs are merged as long as the whole graph gets faster or hardly slower, and a record of each.

    What some save is not spent on others: many channels on small maps are far slower as one.

    Args:
        model: prepared float model.
        milliseconds: also takes float models; so a pair alone is judged first, which is quick.
        quantized: makes an INT8 model of the whole, whose zero points and epochs decide.
        alone: what :func:`slower_alone` found of the model.
    """
    records: list[dict[str, Any]] = []
    before = least = milliseconds(quantized(model))
    for name in alone:
        first = _maker(model, name)
        if not _readers(first):
            continue
        slower, most = _slower_alone(model, first, milliseconds) if records else alone[name], (1 + _DEAR) * least
        if before + slower > max(before, most):
            continue
        trial = model.clone()
        first = _maker(trial, name)
        merged = ", ".join(str(one.name) for one in _merge(trial.graph, first))
        after = milliseconds(quantized(trial))
        if after <= max(before, most):
            records.append({"convolution": merged, "saved_ms": round(before - after, 4)})
            model, before, least = trial, after, min(least, after)
    return model, records


def merge_across(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """A copy in which the convolutions that make the named tensors are merged with those that read them."""
    copy = model.clone()
    makers = {node.outputs[0].name: node for node in copy.graph}
    for name in names:
        _merge(copy.graph, makers[name])
    return copy


def _maker(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.outputs[0].name == name)


def slower_alone(model: ir.Model, milliseconds: Milliseconds) -> dict[str, float]:
    """By how many milliseconds pairs are slower as one, alone; by the tensor between them, in graph order.

    Args:
        model: prepared float model; of very many pairs only those are told that save most.
        milliseconds: takes float models.
    """
    found = {str(n.outputs[0].name): _slower_alone(model, n, milliseconds) for n in model.graph if _readers(n)}
    best = set(sorted(found, key=found.__getitem__)[:_TRIED])
    return {name: slower for name, slower in found.items() if name in best}


def _slower_alone(model: ir.Model, first: ir.Node, milliseconds: Milliseconds) -> float:
    """By how many milliseconds the merged are slower than a convolution and its readers, with nothing around them."""
    readers = _readers(first)
    outputs = [reader.outputs[0] for reader in readers]
    apart = cut(model, [first, *readers], first.inputs[:1], outputs)  # type: ignore[arg-type]
    before = milliseconds(apart)
    _merge(apart.graph, apart.graph[0])
    return milliseconds(apart) - before


def _readers(first: ir.Node) -> list[ir.Node]:
    """The dense 1x1 convolutions that read a convolution where nothing else does; else none."""
    middle = first.outputs[0]
    if first.op_type != "Conv" or not is_constant(first.inputs[1]) or middle.is_graph_output():
        return []
    uses = list(middle.uses())
    if not all(index == 0 and _is_pointwise(node) for node, index in uses):
        return []
    readers = [node for node, _ in uses]
    weight, points = constant(first.inputs[1]), [constant(reader.inputs[1]) for reader in readers]
    outputs = sum(p.shape[0] for p in points)
    size = outputs * weight[0].size * first.attributes.get_int("group", 1)
    return readers if size <= min(_LARGEST, _MORE * (weight.size + sum(p.size for p in points))) else []


def _is_pointwise(node: ir.Node) -> bool:
    """Whether it is a dense 1x1 convolution at every position, with constant weights."""
    if node.op_type != "Conv" or not is_constant(node.inputs[1]):
        return False
    plain = set(constant(node.inputs[1]).shape[2:]) == {1} and node.attributes.get_int("group", 1) == 1
    moves = set(node.attributes.get_ints("strides", [1])) != {1} or any(node.attributes.get_ints("pads", []))
    return plain and not moves


def _merge(graph: ir.Graph, first: ir.Node) -> list[ir.Node]:
    """Put one convolution, under the name of the reader, in place of a convolution and each of its readers."""
    merged = [_merged(graph, first, reader) for reader in _readers(first)]
    graph.remove(first, safe=True)
    return merged


def _merged(graph: ir.Graph, first: ir.Node, second: ir.Node) -> ir.Node:
    """Put the one in place of the second."""
    groups = first.attributes.get_int("group", 1)
    points = constant(second.inputs[1]).reshape(constant(second.inputs[1]).shape[:2])
    kernels = np.split(constant(first.inputs[1]), groups)
    parts = [_product(p, k) for p, k in zip(np.split(points, groups, axis=1), kernels, strict=True)]
    bias = _bias(second) + points.astype(np.float64) @ _bias(first)
    constants = [
        new_constant(graph, f"{second.name}_merged_weight", np.concatenate(parts, axis=1)),
        new_constant(graph, f"{second.name}_merged_bias", bias.astype(np.float32)),
    ]
    attributes = [a for name, a in first.attributes.items() if name != "group"]
    one = ir.Node("", "Conv", [first.inputs[0], *constants], attributes, name=second.name)
    take_over(graph, second, [one])
    return one


def _bias(node: ir.Node) -> NDArray[np.float32]:
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return constant(node.inputs[2])
    return np.zeros(constant(node.inputs[1]).shape[0], np.float32)


def _product(points: NDArray[np.float32], kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    merged: NDArray[np.float32] = np.einsum("om,mi...->oi...", points.astype(np.float64), kernels).astype(np.float32)
    return merged
