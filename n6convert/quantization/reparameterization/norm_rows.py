"""Normalizations in a graph, and what the samples show of their rows: variances, peaks, and the factor of 1/sqrt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant, static_dims
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.quantization.ranges.channel_extents import Extents
from n6convert.quantization.stable import rounded
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["KnownRows", "Norm", "RowStatistics", "find_norms", "norm_axes", "row_statistics"]

Array = NDArray[np.float64]
#: significant bits of the factor, which is a simple number in most graphs
_FACTOR_BITS = 12
#: samples on which it is looked at what a graph computes, and how far ratios that are the same may differ
_VERIFIED, _SAME = 4, 1e-3
#: of an int8 grid that starts at zero
_CODES = 255


@dataclass
class Norm:
    """One normalization as the graph spells it: c = x - mean(x) (or x), n = c * r, y = n * gamma + beta."""

    x: ir.Value
    c: ir.Value
    n: ir.Node
    axis: int
    last: ir.Node
    gamma: Array | None = None
    beta: Array | None = None
    between: tuple[ir.Value, ...] = ()
    """what the graph computes from the squares on the way to r"""

    @property
    def centered(self) -> bool:
        """Whether the mean is taken off."""
        return self.x is not self.c

    @property
    def shape(self) -> list[int]:
        """Shape of the rows before they are scaled."""
        return static_dims(self.c.shape or ir.Shape([]))


@dataclass
class RowStatistics:
    """Rows of the centered values over the samples, in figures."""

    variances: Array
    peaks: Array
    factor: float
    """r * sqrt(v), the same for all rows"""
    int8_error: float = 0.0
    """mean relative error of r where squares and variances are rounded to one int8 grid each"""


def find_norms(graph: ir.Graph) -> Iterator[Norm]:
    """The normalizations of a graph, in its order."""
    for square in graph:
        c = square.inputs[0] if square.op_type == "Mul" else None
        if c is None or square.inputs[1] is not c or c.shape is None:
            continue
        for node in c.consumers():
            norm = _norm_at(node, c, square) if node is not square else None
            if norm is not None:
                yield norm


def _norm_at(node: ir.Node, c: ir.Value, square: ir.Node) -> Norm | None:
    """The normalization when ``node`` multiplies (or divides) c by something that its squares alone make."""
    if node.op_type not in ("Mul", "Div") or node.inputs[0] is not c:
        return None
    scale = node.inputs[1]
    between = _between(scale, square.outputs[0])
    if scale is None or scale.shape is None or between is None:
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
    return _with_affine(Norm(x, c, node, axis, node, between=between))


def _between(value: ir.Value | None, source: ir.Value) -> tuple[ir.Value, ...] | None:
    """What lies between a value and ``source``, of which it is computed with constants alone; None where it is not."""
    between: list[ir.Value] = []
    while value is not source:
        maker = value.producer() if value is not None else None
        active = [] if maker is None else [v for v in maker.inputs if v is not None and not is_constant(v)]
        if value is None or len(active) != 1:
            return None
        between.append(value)
        value = active[0]
    return tuple(between)


def _with_affine(norm: Norm) -> Norm:
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


def _vector(norm: Norm, value: ir.Value | None) -> Array | None:
    """A constant that varies along the normalized axis only, one number per channel."""
    if value is None:
        return None
    numbers, channels = constant(value).astype(np.float64), norm.shape[norm.axis]
    dims = [1] * (len(norm.shape) - numbers.ndim) + list(numbers.shape)
    fits = len(dims) == len(norm.shape) and numbers.size in (1, dims[norm.axis])
    return np.broadcast_to(numbers.reshape(-1), channels) if fits else None


def norm_axes(graph: ir.Graph) -> dict[str, tuple[int, ...]]:
    """The centered values of normalizations, with the axes that lie within a channel."""
    return {norm.c.name or "": _within_channel(norm) for norm in find_norms(graph)}


def _within_channel(norm: Norm) -> tuple[int, ...]:
    return tuple(i for i in range(len(norm.shape)) if i != norm.axis)


def row_statistics(
    model: ir.Model, norms: Sequence[Norm], samples: Iterable[Feeds], threads: int | None, known: KnownRows
) -> dict[str, RowStatistics | None]:
    """Figures of each normalization by the name of c; None where the graph computes something else.

    Args:
        model: float, prepared.
        norms: of the model.
        samples: inputs of the model by name; read until ``known`` tells the rest.
        threads: of the session.
        known: what earlier passes saw of the same normalizations.
    """
    if not norms:
        return {}
    values_of = {v: v.name or "" for n in norms for v in (n.x, n.c, n.n.outputs[0], *n.between)}
    made = [name for value, name in values_of.items() if value.producer() is not None]
    session = Session(model, made, threads=threads)
    rows: dict[str, list[RowStatistics | None]] = {n.c.name or "": [] for n in norms}
    for index, sample in enumerate(samples):
        values = dict(sample) | session.run_on(sample)
        for norm in norms:
            found = rows[norm.c.name or ""]
            if index < _VERIFIED:
                found.append(_figures(norm, values, None))
                known.look(norm, values, found[-1])
            elif not known.tells(norm):
                found.append(_figures(norm, values, found[0]))
        if index + 1 >= _VERIFIED and all(map(known.tells, norms)):
            break
    return {n.c.name or "": known.added(n, _joined(rows[n.c.name or ""])) for n in norms}


class KnownRows:
    """What earlier passes saw of normalizations: the graph computes the variances of rows on its way."""

    def __init__(self, statistics: Mapping[str, Statistics], channels: Extents) -> None:
        self._statistics = statistics
        self._channels = channels
        self._factors: dict[str, dict[str, list[float]]] = {}

    def knowing(self, statistics: Mapping[str, Statistics], channels: Extents) -> KnownRows:
        """The same after another pass, with what it saw."""
        known = KnownRows(statistics, channels)
        known._factors = self._factors
        return known

    def look(self, norm: Norm, values: Mapping[str, NDArray[Any]], seen: RowStatistics | None) -> None:
        """Look in one sample which tensors are the variances times a factor.

        Args:
            norm: the normalization.
            values: of the tensors between its parts, by name.
            seen: its figures in this sample; None where the graph computes something else.
        """
        found = self._factors.setdefault(norm.c.name or "", {v.name or "": [] for v in norm.between})
        for name in list(found):
            array = values[name].astype(np.float64).ravel()
            ratio = array / seen.variances if seen is not None and array.shape == seen.variances.shape else np.zeros(1)
            if ratio.min() > 0 and ratio.max() < (1 + _SAME) * ratio.min():
                found[name].append(float(np.median(ratio)))
            else:
                del found[name]

    def tells(self, norm: Norm) -> bool:
        """Whether the variances and peaks of a normalization are known."""
        return self._source(norm) is not None

    def added(self, norm: Norm, seen: RowStatistics | None) -> RowStatistics | None:
        """The figures of some samples with what is known of all."""
        source = self._source(norm)
        if seen is None or source is None:
            return seen
        name, factor = source
        extremes, reach = self._statistics[name], self._channels[norm.c.name or ""]
        variances = rounded([seen.variances.min(), seen.variances.max(), extremes.low / factor, extremes.high / factor])
        peaks = np.maximum(seen.peaks, rounded(np.stack([reach.high.ravel(), -reach.low.ravel()])))
        error = _gaussian_error(np.array([seen.variances.min(), seen.variances.max()]), variances.max(), peaks.max())
        return RowStatistics(np.asarray(variances), peaks, seen.factor, max(error, seen.int8_error))

    def _source(self, norm: Norm) -> tuple[str, float] | None:
        name = norm.c.name or ""
        if not self._channels.covers(name, _within_channel(norm)):
            return None
        for other, factors in self._factors.get(name, {}).items():
            if factors and other in self._statistics and max(factors) < (1 + _SAME) * min(factors):
                return other, float(rounded(float(np.median(factors)), _FACTOR_BITS))
        return None


def _figures(norm: Norm, values: Mapping[str, NDArray[Any]], verified: RowStatistics | None) -> RowStatistics | None:
    """What one sample shows; None where the graph computes something else, which is looked at unless verified."""

    def rows(value: ir.Value) -> Array:
        array = np.moveaxis(values[value.name or ""].astype(np.float64), norm.axis, -1)
        return array.reshape(-1, array.shape[-1])

    c = rows(norm.c)
    peaks = np.stack([c.max(0), -c.min(0)])
    if verified is not None:
        return RowStatistics(np.square(c).mean(1), peaks, verified.factor, verified.int8_error)
    x, n = rows(norm.x), rows(norm.n.outputs[0])
    if norm.centered and np.abs(x - x.mean(1, keepdims=True) - c).max() > 1e-4 * np.abs(x).max():
        return None
    variances = np.square(c).mean(1)
    factors = (n * c).mean(1) / np.maximum(np.sqrt(variances), 1e-30)
    factor = float(np.median(factors))
    if factor == 0 or np.abs(factors / factor - 1).max() > 1e-2:
        return None
    return RowStatistics(variances, peaks, factor, _int8_error(np.square(c)))


def _int8_error(squares: Array) -> float:
    """Mean relative error of one over the root of the rows' means, on int8 grids that these rows alone fill."""
    exact = squares.mean(1)
    step, least = squares.max() / _CODES, exact.max() / _CODES
    if least == 0:
        return 0.0
    means = (np.rint(squares / step) * step).mean(1)
    found = np.maximum(np.rint(means / least), 0.5) * least  # a zero is as good as half a code
    return float(np.abs(np.sqrt(exact / found) - 1).mean())


def _gaussian_error(variances: Array, widest: float, peak: float) -> float:
    """:func:`_int8_error` of rows with these variances, as if Gaussian, on grids that hold the rows of all samples."""
    normal = np.array([NormalDist().inv_cdf((i + 0.5) / _CODES) for i in range(_CODES)])
    squares, step, least = np.outer(variances, normal**2), peak**2 / _CODES, widest / _CODES
    means = (np.rint(squares / step) * step).mean(1)
    found = np.maximum(np.rint(means / least), 0.5) * least
    return float(np.abs(np.sqrt(variances / found) - 1).mean())


def _joined(found: Sequence[RowStatistics | None]) -> RowStatistics | None:
    known = [f for f in found if f is not None]
    if len(known) < len(found) or not known:
        return None
    variances, peaks = np.concatenate([f.variances for f in known]), np.max([f.peaks for f in known], axis=0)
    factor, error = float(rounded(known[0].factor, _FACTOR_BITS)), float(np.mean([f.int8_error for f in known]))
    return RowStatistics(rounded(variances), rounded(peaks), factor, float(rounded(error)))
