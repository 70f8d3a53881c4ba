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
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.dag import reach
from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import static_dims
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.quantization.ranges.channel_extents import Extents
from n6convert.quantization.reparameterization.norm_rows import (
    KnownRows,
    Norm,
    RowStatistics,
    find_norms,
    row_statistics,
)
from n6convert.quantization.reparameterization.square_hinges import square_hinges
from n6convert.types import Feeds

__all__ = ["FewRows", "rewrite_outlier_norms"]

Array = NDArray[np.float64]
#: standard deviations of the quietest row up to which squares are taken as they are
_USUAL = 8.0
#: largest over smallest variance that one linear int8 grid still serves
_SPREAD = 5.0
#: a knot of 1/sqrt(v) is so many times the one before
_ROOT_RATIO = 1.35
#: variances and peaks may go that far beyond what the samples showed
_MARGIN = 1.2
#: mean relative error of what int8 scales rows by from which a norm is useless: 20 dB before anything else is rounded
_SPOILED = 0.1
#: more channels than this share are no outliers but the rule
_FEW_CHANNELS = 0.5


class FewRows:
    """What a few samples show of normalizations.

    Args:
        model: prepared float model.
        few: the samples.
        threads: None: as many as there are cores.

    Attributes:
        model: as given.
    """

    def __init__(self, model: ir.Model, few: Sequence[Feeds], threads: int | None = None) -> None:
        self.model = model
        self._norms, self._known = list(find_norms(model.graph)), KnownRows({}, Extents())
        self._of = partial(row_statistics, model, self._norms, threads=threads, known=self._known)
        self._rows = self._of(few)

    def spoiled(self, samples: Iterable[Feeds]) -> dict[str, RowStatistics | None] | None:
        """What samples show of the same; None unless massive activations leave a norm useless as INT8, as it is.

        Args:
            samples: enough to know peaks and variances; read where a norm is useless.
        """
        return self._of(samples) if _any_spoiled(self._rows) else None

    def spoil_with(self, statistics: Mapping[str, Statistics], channels: Extents) -> bool:
        """Whether one is with what all samples showed: one far beyond the others leaves these no steps on its grid."""
        return _any_spoiled(self._with(self._known.knowing(statistics, channels)))

    def of_all(self, statistics: Mapping[str, Statistics], channels: Extents) -> dict[str, RowStatistics | None] | None:
        """What all samples showed of the normalizations; None where that is not known of each."""
        known = self._known.knowing(statistics, channels)
        return self._with(known) if all(map(known.tells, self._norms)) else None

    def _with(self, known: KnownRows) -> dict[str, RowStatistics | None]:
        return {n.c.name or "": known.added(n, self._rows[n.c.name or ""]) for n in self._norms}


def _any_spoiled(rows: Mapping[str, RowStatistics | None]) -> bool:
    return any(s is not None and s.int8_error > _SPOILED and _is_wide(s) for s in rows.values())


def rewrite_outlier_norms(
    model: ir.Model,
    samples: Iterable[Feeds],
    threads: int | None = None,
    statistics: Mapping[str, Statistics] | None = None,
    channels: Extents | None = None,
    seen: Mapping[str, RowStatistics | None] | None = None,
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy whose wide normalizations have int8 forms, and a record of each: spread, hinges, knots, largest error.

    Args:
        model: prepared float model.
        samples: enough to know peaks and variances of every channel and row.
        threads: None: as many as there are cores.
        statistics: what was seen before of the model's tensors.
        channels: what was seen before of their channels; of norms whose variances and peaks both tell, the first
            samples only show what is computed.
        seen: what is known of all of them already; no sample is read.
    """
    model = model.clone()
    norms = list(find_norms(model.graph))
    if seen is None:
        seen = row_statistics(model, norms, samples, threads, KnownRows(statistics or {}, channels or Extents()))
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
    return any(v is source for v in reach(stream, _summed))


def _summed(value: ir.Value) -> list[ir.Value]:
    """What a sum, or a move of values, reads."""
    maker = value.producer()
    summed = maker is not None and maker.op_type in ("Add", "Reshape", "Transpose")
    return [v for v in maker.inputs if v is not None and not is_constant(v)] if maker is not None and summed else []


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


def _is_wide(seen: RowStatistics) -> bool:
    low, high = float(seen.variances.min()), float(seen.variances.max())
    return low > 0 and (high > _SPREAD * low or float(seen.peaks.max()) > _USUAL * math.sqrt(low) * 1.5)


def _replace(graph: ir.Graph, norm: Norm, seen: RowStatistics) -> dict[str, Any]:
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


def _inverse(build: Builder, c: ir.Value, seen: RowStatistics) -> tuple[ir.Value, dict[str, Any]]:
    """``factor / sqrt(mean(c*c))`` for rows [1, C, h, w], as [1, 1, h, w]."""
    channels = static_dims(c.shape or ir.Shape([]))[1]
    low, high = float(seen.variances.min()) / _MARGIN, float(seen.variances.max()) * _MARGIN
    limit = _limit(seen, math.sqrt(low))
    knots, weights, least, error = _root_table(low, high)
    unit = build.clip(build.conv(c, np.ones((channels, 1, 1, 1)), group=channels), -limit, limit)
    small = build.clip(build.mul(unit, unit), 0.0, limit**2)
    rows = build.pointwise(small, np.repeat(-1 / knots[:, None] / channels, channels, 1), np.ones(len(knots)))
    beyond = square_hinges(seen.peaks * math.sqrt(_MARGIN), limit)
    below = build.clip(rows, 0.0, 1.0)
    if len(beyond):
        hinges, slopes = beyond.map(build, c, len(knots))
        rest = build.pointwise(hinges, -slopes[None] / knots[:, None] / channels, np.zeros(len(knots)))
        below = build.unary("Relu", build.add(below, build.clip(rest, -1.0, 0.0)))
    inverse = build.pointwise(below, seen.factor * weights[None], np.array([seen.factor * least]))
    record = {"variance_spread": round(high / low, 1), "hinges": len(beyond), "knots": len(knots)}
    return inverse, record | {"largest_error": round(error, 4)}


def _limit(seen: RowStatistics, deviation: float) -> float:
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


def _take_over(graph: ir.Graph, old: ir.Value, new: ir.Value) -> None:
    name, old.name = old.name, f"{old.name}_narrow"
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name = name
