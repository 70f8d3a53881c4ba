"""Bias correction: each channel's mean is brought back to what it is in float.

Rounding weights and inputs shifts the mean of a layer's outputs. The walk corrects every layer in order, each on
inputs that come from the already corrected, quantized layers before it (full sequential correction).

Means are compared behind the functions that read a layer (Relu, Swish, Clip): there the float network looks at them.
In front of a function that forgets most values, the mean is ruled by what is forgotten: a detector's background logits
far below any threshold would move the few that decide. A shift that the samples do not agree on is shrunk by its own
uncertainty (James and Stein), so that few samples of a small map do not teach their accidents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import with_outputs
from n6convert.numerics import Session
from n6convert.quantization.layerwise.walk import LAYERS, Layer
from n6convert.quantization.padding import tokens_of
from n6convert.quantization.ranges.consumers import Functions, functions_of

__all__ = ["Wanted", "channel_means", "correct_bias", "shift_bias"]

Floats = NDArray[np.float64]
Tokens = NDArray[np.bool_] | None
_INT32 = (1 << 31) - 1
#: least share of values that a function must react to; the mean of fewer says nothing about them
_SHARE = 0.02
#: the functions' slopes are measured over this share of a channel's spread
_PROBE = 0.01
#: of a step of a layer's output: what a shift is rounded to, or its last bits would follow the order of float sums
_UNIT = 1 / 16


@dataclass(frozen=True)
class Wanted:
    """What a layer's output should be.

    Attributes:
        functions: those that read the output.
        means: mean of each channel behind each function in the float model ``[samples, functions, channels]``.
        tokens: places of each sample that are no padding, None where all count.
    """

    functions: Functions
    means: Floats
    tokens: Sequence[Tokens]


def channel_means(
    model: ir.Model, samples: Iterable[Mapping[str, NDArray[Any]]], threads: int | None = None
) -> dict[str, Wanted]:
    """What every layer's channels average to in the float model, by node name.

    Args:
        model: float.
        samples: arrays by input name.
        threads: None: as many as there are cores.
    """
    layers = {n.outputs[0].name or "": n for n in model.graph if n.op_type in LAYERS}
    if not layers:
        return {}
    functions = {name: functions_of(model, node.outputs[0]) for name, node in layers.items()}
    session = Session(with_outputs(model, list(layers)), threads=threads)
    means: dict[str, list[list[Floats]]] = {name: [] for name in layers}
    places: list[Tokens] = []
    for sample in samples:
        tokens = tokens_of(model.graph, sample)
        places.append(tokens)
        for name, values in session.run({n: sample[n] for n in session.inputs}).items():
            means[name].append([_mean(layers[name], v, tokens) for v in functions[name](values)])
    return {n.name or "": Wanted(functions[name], np.array(means[name]), places) for name, n in layers.items()}


def correct_bias(layer: Layer, wanted: Wanted) -> None:
    """Shift the layer's bias so that its channel means over the samples become the wanted ones.

    One step by the functions' mean slopes, which is then measured, and shortened where it went too far.
    """
    means, slope, clear = _means_and_slopes(layer, wanted)
    missing = np.sum(slope * _shrunk(wanted.means - means), axis=0)
    shift = np.where(clear, missing / np.where(clear, np.sum(slope**2, axis=0), 1.0), 0.0)
    moved = _means(layer, wanted, shift).mean(axis=0) - means.mean(axis=0)
    closed = np.sum(slope * moved, axis=0)
    share = np.where(missing * closed > 0, missing / np.where(closed == 0, 1.0, closed), 0.0)
    shift_bias(layer, shift * np.clip(share, 0.0, 1.0))


def _means(layer: Layer, wanted: Wanted, shift: Floats) -> Floats:
    """Channel means behind the functions, of outputs with shifted channels ``[samples, functions, channels]``."""
    axis = _channel_axis(layer.node)
    found = []
    for values, tokens in zip(layer.outputs(), wanted.tokens, strict=True):
        shape = [1] * values.ndim
        shape[axis] = -1
        moved = values + shift.astype(np.float32).reshape(shape)
        found.append([_mean(layer.node, v, tokens) for v in wanted.functions(moved)])
    return np.array(found)


def _means_and_slopes(layer: Layer, wanted: Wanted) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Channel means behind the functions, their mean slopes, and where enough values are reacted to."""
    means, slopes, power = [], [], []
    for values, tokens in zip(layer.outputs(), wanted.tokens, strict=True):
        before = wanted.functions(values)
        step = np.float32(_PROBE * float(values.std()) + 1e-6)
        steep = [(b - a) / step for a, b in zip(before, wanted.functions(values + step), strict=True)]
        means.append([_mean(layer.node, v, tokens) for v in before])
        slopes.append([_mean(layer.node, v, tokens) for v in steep])
        power.append([_mean(layer.node, v**2, tokens) for v in steep])
    slope: Floats = np.mean(slopes, axis=0)
    clear = np.sum(slope**2, axis=0) > _SHARE * np.mean(power, axis=0).sum(axis=0)
    return np.array(means), slope, clear


def _shrunk(gaps: Floats) -> Floats:
    """Mean over the samples (the first axis), made smaller by what the samples disagree."""
    mean: Floats = gaps.mean(axis=0)
    if len(gaps) == 1:
        return mean
    noise = gaps.var(axis=0, ddof=1) / len(gaps)
    return np.asarray(mean * np.maximum(0.0, 1.0 - noise / np.maximum(mean**2, 1e-30)))


def shift_bias(layer: Layer, shift: NDArray[np.float64]) -> None:
    """Add a float vector to the layer's int32 bias, in sixteenths of a step of its output."""
    bias, scale = layer.initializer(2), layer.initializer(2, 1)
    assert bias.const_value is not None and scale.const_value is not None
    unit = layer.output_scale * _UNIT
    steps = np.rint(np.rint(shift / unit) * unit / scale.const_value.numpy().astype(np.float64))
    codes = np.clip(bias.const_value.numpy().astype(np.float64) + steps, -_INT32, _INT32).astype(np.int32)
    bias.const_value = ir.tensor(codes, name=bias.name)


def _channel_axis(node: ir.Node) -> int:
    return -1 if node.op_type == "Gemm" else 1


def _mean(node: ir.Node, values: NDArray[np.float32], tokens: Tokens) -> Floats:
    """Mean of each channel; over the tokens only where the layer's rows are the places of a padded sequence."""
    axis = _channel_axis(node) % values.ndim
    rows = np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    if tokens is not None and rows.shape[1] == tokens.size:
        rows = rows[:, tokens]
    means: Floats = rows.mean(axis=1, dtype=np.float64)
    return means
