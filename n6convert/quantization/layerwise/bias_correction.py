"""Bias correction: each channel has the mean that it has in float.

Rounding weights and inputs shifts the mean of a layer's outputs. The walk corrects every layer in order, each on
inputs that come from the already corrected, quantized layers before it (full sequential correction).

Means are compared behind the functions that read a layer (Relu, Swish, Clip): there the float network looks at them.
In front of a function that forgets most values, the mean is ruled by what is forgotten: a detector's background logits
far below any threshold would move the few that decide. A shift that the samples do not agree on is shrunk by its own
uncertainty (James and Stein), so that few samples of a small map do not teach their accidents.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.operators import LAYERS
from n6convert.quantization.layerwise.walk import Layer, Rows, rows_of
from n6convert.quantization.padding import tokens_of
from n6convert.quantization.ranges.consumers import Functions, consumer_functions
from n6convert.runtime.halves import Half
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped

__all__ = ["Wanted", "channel_means", "correct_bias", "set_bias", "shift_bias"]

Floats = NDArray[np.float64]
Tokens = NDArray[np.bool_] | None
_INT32 = (1 << 31) - 1
#: places of one sample, and values of a layer's result in it, whose mean is taken: more have the same rounding errors
_PLACES, _VALUES = 1024, 1 << 17
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
        step: how many places lie between those that are looked at, along each axis of places.
    """

    functions: Functions
    means: Floats
    tokens: Sequence[Tokens]
    step: int = 1


def channel_means(
    model: ir.Model,
    samples: Iterable[Mapping[str, NDArray[Any]]],
    threads: int | None = None,
    names: Collection[str] | None = None,
) -> dict[str, Wanted]:
    """What every layer's channels average to in the float model, by node name.

    Args:
        model: float.
        samples: arrays by input name.
        threads: None: as many as there are cores.
        names: of the layers that are asked for; None: all.
    """
    asked = [n for n in model.graph if n.op_type in LAYERS and (names is None or n.name in names)]
    layers = {n.outputs[0].name or "": n for n in asked}
    if not layers:
        return {}
    functions = {name: consumer_functions(model, node.outputs[0]) for name, node in layers.items()}
    steps = {name: _step(node) for name, node in layers.items()}
    session = Session(model, list(layers), threads=1)
    means: dict[str, list[Floats]] = {name: [] for name in layers}
    tokens: list[Tokens] = []

    def of_sample(sample: Mapping[str, NDArray[Any]]) -> tuple[Tokens, dict[str, Floats]]:
        places = tokens_of(model.graph, sample)
        found = {}
        for name, values in session.run_on(sample).items():
            rows = rows_of(layers[name], values, steps[name])
            found[name] = _means(functions[name](rows), _thinned([places], steps[name]))
        return places, found

    for places, found in mapped(of_sample, samples, threads):
        tokens.append(places)
        for name, mean in found.items():
            means[name].append(mean)
    return {
        node.name or "": Wanted(
            functions[name], np.concatenate(means[name]), _thinned(tokens, steps[name]), steps[name]
        )
        for name, node in layers.items()
    }


def _thinned(tokens: Sequence[Tokens], step: int) -> list[Tokens]:
    return [None if t is None else t[::step] for t in tokens]


def _step(node: ir.Node) -> int:
    """The least odd step that leaves few enough places; an even one would always meet the same phase of a map that was
    made larger by twos."""
    shape = [d for d in node.outputs[0].shape or () if isinstance(d, int)]
    sizes, channels = (shape[:1], shape[-1]) if node.op_type == "Gemm" else (shape[2:], shape[1] if shape[1:] else 1)
    step = 1
    while (places := math.prod(-(-d // step) for d in sizes)) > _PLACES or places * channels > _VALUES:
        if places == 1:
            break
        step += 2
    return step


def correct_bias(layer: Layer, wanted: Wanted, half: Half | None = None) -> None:
    """Shift the layer's bias so that its channel means over the samples become the wanted ones.

    One step by the functions' mean slopes, which is then measured, and shortened where it went too far.

    Args:
        layer: has the samples, or a half of them.
        wanted: over all samples.
        half: which; None: it has all.
    """
    rows, half = list(layer.rows(wanted.step)), half or Half()
    means, slope, clear = _means_and_slopes(rows, wanted, layer.threads, half)
    missing = np.sum(slope * _shrunk(wanted.means - means), axis=0)
    shift = np.where(clear, missing / np.where(clear, np.sum(slope**2, axis=0), 1.0), 0.0)
    more = shift.astype(np.float32)[:, None]
    after = _over_samples(rows, wanted, lambda v: wanted.functions(v + more), layer.threads, half)
    moved = after.mean(axis=0) - means.mean(axis=0)
    closed = np.sum(slope * moved, axis=0)
    share = np.where(missing * closed > 0, missing / np.where(closed == 0, 1.0, closed), 0.0)
    shift_bias(layer, shift * np.clip(share, 0.0, 1.0))


def _over_samples(
    rows: Sequence[Rows], wanted: Wanted, results: Callable[[Rows], Sequence[Rows]], threads: int | None, half: Half
) -> NDArray[np.float64]:
    """Channel means of what is made of a layer's rows ``[samples, results, channels]``, of all samples."""
    starts, tokens = np.cumsum([0, *(len(r) for r in rows)]), wanted.tokens[half.span(len(wanted.tokens))]

    def of_part(index: int) -> Floats:
        return _means(results(rows[index]), tokens[starts[index] : starts[index + 1]])

    return half.joined(np.concatenate(list(mapped(of_part, range(len(rows)), threads))))


def _means_and_slopes(
    rows: Sequence[Rows], wanted: Wanted, threads: int | None, half: Half
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Channel means behind the functions, their mean slopes, and where enough values are reacted to."""

    def measured(values: Rows) -> list[Rows]:
        before = wanted.functions(values)
        step = _PROBE * values.std(axis=(1, 2), keepdims=True) + np.float32(1e-6)
        steep = [(b - a) / step for a, b in zip(before, wanted.functions(values + step), strict=True)]
        return [*before, *steep, *(s * s for s in steep)]

    means, slopes, power = np.split(_over_samples(rows, wanted, measured, threads, half), 3, axis=1)
    slope: Floats = slopes.mean(axis=0)
    return means, slope, np.sum(slope**2, axis=0) > _SHARE * power.mean(axis=0).sum(axis=0)


def _shrunk(gaps: Floats) -> Floats:
    """Mean over the samples (the first axis), made smaller by what the samples disagree."""
    mean: Floats = gaps.mean(axis=0)
    if len(gaps) == 1:
        return mean
    noise = gaps.var(axis=0, ddof=1) / len(gaps)
    return np.asarray(mean * np.maximum(0.0, 1.0 - noise / np.maximum(mean**2, 1e-30)))


def set_bias(layer: Layer, values: NDArray[np.float32]) -> None:
    """Give a layer the int32 bias that comes nearest to float numbers."""
    bias, scale = layer.initializer(2), layer.initializer(2, 1)
    assert scale.const_value is not None
    codes = np.clip(np.rint(values / scale.const_value.numpy().astype(np.float64)), -_INT32, _INT32).astype(np.int32)
    bias.const_value = ir.Tensor(codes, name=bias.name)


def shift_bias(layer: Layer, shift: NDArray[np.float64]) -> None:
    """Add a float vector to the layer's int32 bias, in sixteenths of a step of its output."""
    bias, scale = layer.initializer(2), layer.initializer(2, 1)
    assert bias.const_value is not None and scale.const_value is not None
    unit = layer.output_scale * _UNIT
    steps = np.rint(np.rint(shift / unit) * unit / scale.const_value.numpy().astype(np.float64))
    codes = np.clip(bias.const_value.numpy().astype(np.float64) + steps, -_INT32, _INT32).astype(np.int32)
    bias.const_value = ir.Tensor(codes, name=bias.name)


def _means(results: Sequence[Rows], tokens: Sequence[Tokens]) -> Floats:
    """Mean of each channel ``[samples, results, channels]``; over the tokens only where the places are those of a
    padded sequence."""
    return np.stack([_mean(rows, tokens) for rows in results], axis=1).astype(np.float64)


def _mean(rows: Rows, tokens: Sequence[Tokens]) -> Rows:
    if all(t is None or t.size != rows.shape[2] for t in tokens):
        return np.asarray(rows.mean(axis=2), np.float32)
    parts = [r if t is None else r[:, t] for r, t in zip(rows, tokens, strict=True)]
    return np.stack([part.mean(axis=1) for part in parts])
