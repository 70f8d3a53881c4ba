"""Bias correction: each channel's mean is brought back to what it is in float.

Rounding weights and inputs shifts the mean of a layer's outputs. The walk corrects every layer in order, each on
inputs that come from the already corrected, quantized layers before it (full sequential correction).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.numerics import Session
from n6convert.quantization.subgraph import with_outputs
from n6convert.quantization.walk import LAYERS, Layer

__all__ = ["channel_means", "correct_bias", "shift_bias"]

_INT32 = (1 << 31) - 1


def channel_means(
    model: ir.Model, samples: Sequence[Mapping[str, NDArray[Any]]], threads: int | None = None
) -> dict[str, NDArray[np.float64]]:
    """Mean of each output channel of every layer of the float model, by node name."""
    names = {n.outputs[0].name or "": n for n in model.graph if n.op_type in LAYERS}
    if not names:
        return {}
    session = Session(with_outputs(model, list(names)), threads=threads)
    sums: dict[str, NDArray[np.float64]] = {}
    for sample in samples:
        for name, values in session.run({n: sample[n] for n in session.inputs}).items():
            node = names[name]
            sums[node.name or ""] = sums.get(node.name or "", 0.0) + _mean(node, values)
    return {name: total / len(samples) for name, total in sums.items()}


def correct_bias(layer: Layer, wanted: NDArray[np.float64]) -> None:
    """Shift the layer's bias so that its channel means over the samples become the wanted ones."""
    shift_bias(layer, wanted - _average(_mean(layer.node, values) for values in layer.outputs()))


def shift_bias(layer: Layer, shift: NDArray[np.float64]) -> None:
    """Add a float vector to the layer's int32 bias."""
    bias, scale = layer.initializer(2), layer.initializer(2, 1)
    assert bias.const_value is not None and scale.const_value is not None
    steps = np.rint(shift / scale.const_value.numpy().astype(np.float64))
    codes = np.clip(bias.const_value.numpy().astype(np.float64) + steps, -_INT32, _INT32).astype(np.int32)
    bias.const_value = ir.tensor(codes, name=bias.name)


def _mean(node: ir.Node, values: NDArray[np.float32]) -> NDArray[np.float64]:
    axis = values.ndim - 1 if node.op_type == "Gemm" else 1
    means: NDArray[np.float64] = values.mean(axis=tuple(i for i in range(values.ndim) if i != axis), dtype=np.float64)
    return means


def _average(vectors: Iterable[NDArray[np.float64]]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = np.mean(list(vectors), axis=0)
    return mean
