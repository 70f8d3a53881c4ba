"""Bias correction in one pass: what rounding the weights shifts, told by the means of what layers read.

A layer's outputs shift by ``(W_rounded - W) E[x]``. ``E[x]`` is measured on the float model, over tokens alone where a
sequence is padded. Unlike the walk over the layers it knows nothing of rounded activations; it costs one float
inference a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.operators import LAYERS
from n6convert.graph.patterns.layers import layers_by_name
from n6convert.quantization.layerwise.analytic_bias_correction import Vector, lost_by_weights
from n6convert.quantization.layerwise.bias_correction import shift_bias
from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.padding import tokens_of, without_padding
from n6convert.quantization.ranges.consumers import reads_as_it_is
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped

__all__ = ["correct_by_means", "input_means"]


def input_means(
    model: ir.Model, samples: Iterable[Mapping[str, NDArray[Any]]], threads: int | None = None
) -> dict[str, Vector]:
    """The mean of each channel of what each layer reads, by node name; of those that no function reads.

    A function forgets values: what the rest of them lose is not what all lose in the mean.

    Args:
        model: float.
        samples: arrays by input name.
        threads: None: as many as there are cores.
    """
    nodes = [n for n in model.graph if n.op_type in LAYERS and reads_as_it_is(n.outputs[0])]
    axes = {_read(node): _channels(node) for node in nodes}
    if not nodes:
        return {}
    entries = {v.name for v in model.graph.inputs}
    inner = [name for name in axes if name not in entries]
    session = Session(model, inner, threads=1) if inner else None

    def of_sample(sample: Mapping[str, NDArray[Any]]) -> tuple[int, dict[str, Vector]]:
        tokens, values = tokens_of(model.graph, sample), dict(sample)
        if session is not None:
            values |= session.run_on(sample)
        found = {name: _mean(without_padding(values[name], tokens), axis) for name, axis in axes.items()}
        return 1 if tokens is None else int(tokens.sum()), found

    sums: dict[str, Vector] = {}
    count = 0
    for weight, means in mapped(of_sample, samples, threads):
        count += weight
        sums = {name: sums.get(name, 0.0) + weight * mean for name, mean in means.items()}
    return {node.name or "": sums[_read(node)] / count for node in nodes if sums}


def _read(node: ir.Node) -> str:
    value = node.inputs[0]
    return (value.name or "") if value is not None else ""


def _channels(node: ir.Node) -> int:
    """The axis of a layer's input that its weights sum over."""
    return 1 if node.op_type != "Gemm" or not node.attributes.get_int("transA", 0) else 0


def _mean(values: NDArray[Any], axis: int) -> Vector:
    others = tuple(i for i in range(values.ndim) if i != axis)
    return np.asarray(values.mean(axis=others, dtype=np.float64), np.float64)


def correct_by_means(float_model: ir.Model, model: ir.Model, means: Mapping[str, Vector]) -> None:
    """Let biases of an INT8 model undo what rounding its weights shifts.

    Args:
        float_model: prepared.
        model: INT8; changed.
        means: what :func:`input_means` found.
    """
    nodes = layers_by_name(float_model.graph)
    for layer in layers_of(model):
        if layer.name in means:
            shift_bias(layer, lost_by_weights(nodes[layer.name], layer, means[layer.name]))
