"""Normalizations whose input spans too much for int8: LayerNorm and RMSNorm behind massive activations.

Some transformers write one huge value into one channel of one token (Sun et al. 2024). Its square sets the int8 step of
all squares, and the variance of that token the step of all variances; what is left of the others is noise. In place of
``r = 1/sqrt(mean(c*c))`` such a normalization gets, in real numbers a table of ``r`` with a stated error::

    q = min(c*c, T^2)                       small squares keep a fine step; T is some deviations of a quiet row
    h = Relu(+-c_j - t)                     channels that exceed T: hinges with geometric knots t, so that
    v = mean(q) + sum(h * slope) / C        the rest of their squares is a sum of them
    r = r_0 + sum_i w_i * Relu(1 - v / b_i)  the table ([#function-forms], R4): v itself is never rounded

Every product is a 1x1 convolution with one weight scale per row. The mean is spread over the channels by a convolution
as well, and gamma and beta are a depthwise one, so that equalization can store a huge channel divided by a factor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.dag import reach
from n6convert.graph.extract import with_outputs
from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant, static_dims
from n6convert.quantization.stable import rounded
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["rewrite_outlier_norms"]

Array = NDArray[np.float64]
#: standard deviations of the quietest row up to which squares are taken as they are
_USUAL = 8.0
#: largest over smallest variance that one linear int8 grid still serves
_SPREAD = 5.0
#: knots of 1/sqrt(v) and of the squares beyond T: each so many times the one before
_ROOT_RATIO, _SQUARE_RATIO = 1.35, 1.5
#: samples on which it is looked at what a graph computes
_VERIFIED = 4
#: variances and peaks may go that far beyond what the samples showed
_MARGIN = 1.2
#: more channels than this share are no outliers but the rule
_FEW_CHANNELS = 0.5
#: significant bits of the factor, which is a simple number in most graphs
_FACTOR_BITS = 12


@dataclass
class _Norm:
    """One normalization as the graph spells it: c = x - mean(x) (or x), n = c * r, y = n * gamma + beta."""

    x: ir.Value
    c: ir.Value
    n: ir.Node
    axis: int
    last: ir.Node
    gamma: Array | None = None
    beta: Array | None = None

    @property
    def centered(self) -> bool:
        return self.x is not self.c

    @property
    def shape(self) -> list[int]:
        return static_dims(self.c.shape or ir.Shape([]))


@dataclass
class _RowStatistics:
    """Rows of the centered values over the samples, in figures."""

    variances: Array
    peaks: Array
    factor: float
    """r * sqrt(v), the same for all rows"""


def rewrite_outlier_norms(
    model: ir.Model, samples: Iterable[Feeds], threads: int | None = None
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy whose wide normalizations have int8 forms, and a record of each: spread, hinges, knots, largest error.

    Args:
        model: prepared float model.
        samples: enough to know peaks and variances of every channel and row.
    """
    model = model.clone()
    norms = list(_find(model.graph))
    seen = _observe(model, norms, samples, threads)
    records = []
    for norm in norms:
        figures = seen[norm.c.name or ""]
        if figures is not None and _is_wide(figures):
            records.append(_replace(model.graph, norm, figures))
    if records:
        _free_inputs(model.graph, [n.x for n in norms])
        model.graph.sort()
        passes.RemoveUnusedNodesPass()(model)
    return model, records


def _free_inputs(graph: ir.Graph, streams: Sequence[ir.Value]) -> None:
    """A depthwise convolution of ones behind every input that enters the sum before a norm."""
    for source in list(graph.inputs):
        if any(_enters(v, source) for v in streams):
            _copy(graph, source)


def _enters(stream: ir.Value, source: ir.Value) -> bool:
    """Whether a value is the source, or a sum that reads it, behind moves of values."""

    def operands(value: ir.Value) -> list[ir.Value]:
        maker = value.producer()
        summed = maker is not None and maker.op_type in ("Add", "Reshape", "Transpose")
        return [v for v in maker.inputs if v is not None and not is_constant(v)] if maker is not None and summed else []

    return any(v is source for v in reach(stream, operands))


def _copy(graph: ir.Graph, source: ir.Value) -> None:
    reader = next(iter(source.consumers()), None)
    while reader is not None and len(source.uses()) == 1 and reader.op_type in ("Reshape", "Transpose"):
        source = reader.outputs[0]
        reader = next(iter(source.consumers()), None)
    uses = list(source.uses())
    build = Builder(graph, f"{source.name}/wide", graph.opset_imports.get("", 17))
    dims = static_dims(source.shape or ir.Shape([]))
    axis = 1 if len(dims) == 4 else len(dims) - 1
    x = build.as_map(source, axis)
    y = build.from_map(build.conv(x, np.ones((dims[axis], 1, 1, 1)), group=dims[axis]), axis, dims)
    graph.insert_before(uses[0][0], build.nodes)
    for node, index in uses:
        if not _enters(x, node.outputs[0]):
            node.replace_input_with(index, y)


def _find(graph: ir.Graph) -> Iterator[_Norm]:
    for square in graph:
        c = square.inputs[0] if square.op_type == "Mul" else None
        if c is None or square.inputs[1] is not c or c.shape is None:
            continue
        for node in c.consumers():
            norm = _norm_at(node, c, square) if node is not square else None
            if norm is not None:
                yield norm


def _norm_at(node: ir.Node, c: ir.Value, square: ir.Node) -> _Norm | None:
    """The normalization when ``node`` multiplies (or divides) c by something that its squares alone make."""
    if node.op_type not in ("Mul", "Div") or node.inputs[0] is not c:
        return None
    scale = node.inputs[1]
    if scale is None or scale.shape is None or not _made_of(scale, square.outputs[0]):
        return None
    full, small = static_dims(c.shape or ir.Shape([])), static_dims(scale.shape)
    axes = [i for i, (a, b) in enumerate(zip(full, small, strict=False)) if a != b]
    if len(full) != len(small) or len(axes) != 1 or small[axes[0]] != 1 or full[0] != 1:
        return None
    axis = axes[0]
    if axis != len(full) - 1 and not (axis == 1 and len(full) == 4):
        return None
    maker = c.producer()
    x = maker.inputs[0] if maker is not None and maker.op_type == "Sub" else c
    assert x is not None
    return _with_affine(_Norm(x, c, node, axis, node))


def _made_of(value: ir.Value, source: ir.Value) -> bool:
    """Whether a value is computed from ``source`` and constants alone."""
    while value is not source:
        maker = value.producer()
        active = [] if maker is None else [v for v in maker.inputs if v is not None and not is_constant(v)]
        if len(active) != 1:
            return False
        value = active[0]
    return True


def _with_affine(norm: _Norm) -> _Norm:
    """Take the products with gamma and the sum with beta along."""
    for op in ("Mul", "Add"):
        value = norm.last.outputs[0]
        reader = next(iter(value.consumers()), None)
        if reader is None or reader.op_type != op or len(value.uses()) != 1 or value.is_graph_output():
            continue
        vector = _vector(norm, next((v for v in reader.inputs if is_constant(v)), None))
        if vector is not None:
            norm.last = reader
            norm.gamma, norm.beta = (vector, norm.beta) if op == "Mul" else (norm.gamma, vector)
    return norm


def _vector(norm: _Norm, value: ir.Value | None) -> Array | None:
    """A constant that varies along the normalized axis only, one number per channel."""
    if value is None:
        return None
    numbers, channels = constant(value).astype(np.float64), norm.shape[norm.axis]
    dims = [1] * (len(norm.shape) - numbers.ndim) + list(numbers.shape)
    fits = len(dims) == len(norm.shape) and numbers.size in (1, dims[norm.axis])
    return np.broadcast_to(numbers.reshape(-1), channels) if fits else None


def _observe(
    model: ir.Model, norms: Sequence[_Norm], samples: Iterable[Feeds], threads: int | None
) -> dict[str, _RowStatistics | None]:
    """Figures of each normalization by the name of c; None where the graph computes something else."""
    if not norms:
        return {}
    names = [v.name or "" for n in norms for v in {n.x, n.c, n.n.outputs[0]} if v.producer() is not None]
    session = Session(with_outputs(model, list(dict.fromkeys(names))), threads=threads)
    rows: dict[str, list[_RowStatistics | None]] = {n.c.name or "": [] for n in norms}
    for index, sample in enumerate(samples):
        values = dict(sample) | session.run_on(sample)
        for norm in norms:
            found = rows[norm.c.name or ""]
            found.append(_figures(norm, values, found[0] if index >= _VERIFIED else None))
    return {name: _joined(found) for name, found in rows.items()}


def _figures(norm: _Norm, values: Mapping[str, NDArray[Any]], verified: _RowStatistics | None) -> _RowStatistics | None:
    """What one sample shows; None where the graph computes something else, which is looked at unless verified."""

    def rows(value: ir.Value) -> Array:
        array = np.moveaxis(values[value.name or ""].astype(np.float64), norm.axis, -1)
        return array.reshape(-1, array.shape[-1])

    c = rows(norm.c)
    peaks = np.stack([c.max(0), -c.min(0)])
    if verified is not None:
        return _RowStatistics(np.square(c).mean(1), peaks, verified.factor)
    x, n = rows(norm.x), rows(norm.n.outputs[0])
    if norm.centered and np.abs(x - x.mean(1, keepdims=True) - c).max() > 1e-4 * np.abs(x).max():
        return None
    variances = np.square(c).mean(1)
    factors = (n * c).mean(1) / np.maximum(np.sqrt(variances), 1e-30)
    factor = float(np.median(factors))
    if factor == 0 or np.abs(factors / factor - 1).max() > 1e-2:
        return None
    return _RowStatistics(variances, peaks, factor)


def _joined(found: Sequence[_RowStatistics | None]) -> _RowStatistics | None:
    known = [f for f in found if f is not None]
    if len(known) < len(found) or not known:
        return None
    variances, peaks = np.concatenate([f.variances for f in known]), np.max([f.peaks for f in known], axis=0)
    return _RowStatistics(rounded(variances), rounded(peaks), float(rounded(known[0].factor, _FACTOR_BITS)))


def _is_wide(seen: _RowStatistics) -> bool:
    low, high = float(seen.variances.min()), float(seen.variances.max())
    return low > 0 and (high > _SPREAD * low or float(seen.peaks.max()) > _USUAL * math.sqrt(low) * 1.5)


def _replace(graph: ir.Graph, norm: _Norm, seen: _RowStatistics) -> dict[str, Any]:
    build = Builder(graph, f"{norm.c.name}/wide", graph.opset_imports.get("", 17))
    channels = norm.shape[norm.axis]
    c = x = build.as_map(norm.x, norm.axis)
    if norm.centered:
        mean = build.pointwise(x, np.full((1, channels), 1 / channels))
        c = build.add(x, build.pointwise(mean, np.full((channels, 1), -1.0)))
    inverse, record = _inverse(build, c, seen)
    n = build.mul(c, inverse)
    gamma = np.ones(channels) if norm.gamma is None else norm.gamma
    beta = np.zeros(channels) if norm.beta is None else norm.beta
    ends = []
    for readers in _readers(norm.last.outputs[0]):
        y = build.conv(n, gamma.reshape(-1, 1, 1, 1), beta, group=channels)
        ends.append((readers, build.from_map(y, norm.axis, norm.shape)))
    graph.insert_before(norm.n, build.nodes)
    for readers, y in ends[1:]:
        for node, index in readers:
            node.replace_input_with(index, y)
    _take_over(graph, norm.last.outputs[0], ends[0][1])
    return {"tensor": norm.x.name, **record}


def _readers(value: ir.Value) -> list[list[tuple[ir.Node, int]]]:
    """Uses that may have channel factors of their own: the residual sums, and the layers, whose weights mind them."""
    sums = [(node, index) for node, index in value.uses() if node.op_type == "Add"]
    others = [(node, index) for node, index in value.uses() if node.op_type != "Add"]
    return [sums, others] if sums and others and not value.is_graph_output() else [sums + others]


def _inverse(build: Builder, c: ir.Value, seen: _RowStatistics) -> tuple[ir.Value, dict[str, Any]]:
    """``factor / sqrt(mean(c*c))`` for rows [1, C, h, w], as [1, 1, h, w]."""
    channels = static_dims(c.shape or ir.Shape([]))[1]
    low, high = float(seen.variances.min()) / _MARGIN, float(seen.variances.max()) * _MARGIN
    limit = _limit(seen, math.sqrt(low))
    knots, weights, least, error = _root_table(low, high)
    unit = build.clip(build.conv(c, np.ones((channels, 1, 1, 1)), group=channels), -limit, limit)
    small = build.clip(build.mul(unit, unit), 0.0, limit**2)
    rows = build.pointwise(small, np.repeat(-1 / knots[:, None] / channels, channels, 1), np.ones(len(knots)))
    picks, starts, slopes = _square_hinges(seen.peaks * math.sqrt(_MARGIN), limit)
    below = build.clip(rows, 0.0, 1.0)
    if len(starts):
        hinges = build.unary("Relu", build.pointwise(c, picks, -starts))
        rest = build.pointwise(hinges, -slopes[None] / knots[:, None] / channels, np.zeros(len(knots)))
        below = build.unary("Relu", build.add(below, build.clip(rest, -1.0, 0.0)))
    inverse = build.pointwise(below, seen.factor * weights[None], np.array([seen.factor * least]))
    record = {"variance_spread": round(high / low, 1), "hinges": len(starts), "knots": len(knots)}
    return inverse, record | {"largest_error": round(error, 4)}


def _limit(seen: _RowStatistics, deviation: float) -> float:
    """Where squares saturate: a few deviations of the quietest row, higher where too many channels would exceed it."""
    usual = _USUAL * deviation
    return max(usual, float(np.quantile(seen.peaks.max(0), 1 - _FEW_CHANNELS)))


def _root_table(low: float, high: float) -> tuple[Array, Array, float, float]:
    """Knots b, weights w and the value r_0 with ``r_0 + sum(w * Relu(1 - v/b))`` near ``1/sqrt(v)`` on [low, high].

    Returns also the largest relative error. The chords of a convex function lie above it; lowered by half of their
    largest distance they err on both sides alike.
    """
    count = max(1, math.ceil(math.log(high / low) / math.log(_ROOT_RATIO)))
    at = low * (high / low) ** (np.arange(count + 1) / count)
    ratio = at[1] / at[0]
    slope = (ratio**-0.5 - 1) / (ratio - 1)
    touch = (1 / (-2 * slope)) ** (2 / 3)
    error = (1 + slope * (touch - 1)) * math.sqrt(touch) - 1
    values = at**-0.5 / (1 + error / 2)
    slopes = np.append(np.diff(values) / np.diff(at), 0.0)
    weights = (slopes[1:] - slopes[:-1]) * at[1:]
    return at[1:], weights, float(values[-1]), error / 2 / (1 + error / 2)


def _square_hinges(peaks: Array, limit: float) -> tuple[Array, Array, Array]:
    """Rows that pick a signed channel [H, C], knots and slopes [H]: their sum is ``c*c - limit*limit`` beyond limit."""
    picks: list[Array] = []
    starts: list[float] = []
    slopes: list[float] = []
    for side, sign in enumerate((1.0, -1.0)):
        for channel in np.flatnonzero(peaks[side] > limit):
            count = math.ceil(math.log(peaks[side, channel] / limit) / math.log(_SQUARE_RATIO))
            knots = limit * (peaks[side, channel] / limit) ** (np.arange(count + 1) / count)
            steep = knots[:-1] + knots[1:]
            picks += [sign * (np.arange(peaks.shape[1]) == channel)] * count
            starts += list(knots[:-1])
            slopes += list(np.diff(steep, prepend=0.0))
    return np.array(picks), np.array(starts), np.array(slopes)


def _take_over(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    name, old.name = old.name, f"{old.name}_narrow"
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name = name
