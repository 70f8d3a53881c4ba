"""Ranges of tensors from their statistics, one function a method."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from n6convert.quantization.grid.affine import CODE_MAX, CODE_MIN
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.quantization.ranges.histogram import Histogram
from n6convert.quantization.ranges.unseen import Tail
from n6convert.quantization.stable import SHARE, first_least

__all__ = [
    "METHODS",
    "Effect",
    "Range",
    "candidates",
    "entropy_range",
    "mse_range",
    "percentile_range",
    "range_error",
    "reaching_range",
    "tensor_range",
]

Range = tuple[float, float]
METHODS = ("minmax", "moving-average", "percentile", "mse", "entropy")
#: exact values and candidates' rounded values in; pairs of the same after each consumer out
Effect = Callable[[NDArray[np.float64], NDArray[np.float64]], list[tuple[NDArray[np.float64], NDArray[np.float64]]]]
#: further percentiles that the automatic choice tries, for tensors with single massive values
_SHARES = (99.99, 99.9)
_BAD = 1e12
_THRESHOLDS = np.geomspace(0.02, 1.0, 60)
_COARSE = np.array([1.0, 0.85, 0.7, 0.55, 0.43, 0.33, 0.25, 0.18, 0.12, 0.07])
_FINE = np.array([0.86, 0.93, 1.0, 1.08])


def tensor_range(statistics: Statistics, method: str, percentile: float, effect: Effect | None = None) -> Range:
    """The range of one tensor by the named method (see :class:`QuantizationConfig`).

    Tensors that are constant, or whose histogram was not taken, get their min-max range.

    Args:
        statistics: of the tensor.
        method: of the recipe's ``quantization.ranges``.
        percentile: for the method of that name.
        effect: what the consumers make of the tensor.
    """
    histogram = statistics.histogram
    if method == "moving-average":
        return statistics.moving_low, statistics.moving_high
    if method == "minmax" or histogram is None or histogram.span == 0:
        return statistics.low, statistics.high
    whole = (statistics.low, statistics.high)
    if method == "percentile":
        return _inside(percentile_range(histogram, percentile), whole)
    if method == "mse":
        return mse_range(histogram, whole, effect)
    return entropy_range(histogram, whole)


def candidates(statistics: Statistics, percentile: float, effect: Effect | None = None) -> dict[str, Range]:
    """Ranges by every method; equal ones appear once, under the first name.

    Args:
        statistics: of the tensor.
        percentile: for the method of that name.
        effect: what the consumers make of the tensor.
    """
    found: dict[str, Range] = {}
    for method in METHODS:
        span = tensor_range(statistics, method, percentile, effect)
        if span not in found.values():
            found[method] = span
    histogram = statistics.histogram
    if histogram is not None and histogram.span > 0:
        for share in _SHARES:
            span = _inside(percentile_range(histogram, share), (statistics.low, statistics.high))
            if span not in found.values():
                found[f"percentile {share}"] = span
    return found


def percentile_range(histogram: Histogram, percentile: float) -> Range:
    """The range that leaves ``(100 - percentile) / 2`` percent of the values outside on each side."""
    share = (100.0 - percentile) / 200.0
    cumulative = np.cumsum(histogram.counts) / max(int(histogram.counts.sum()), 1)
    first = int(np.searchsorted(cumulative, share, side="right"))
    last = int(np.searchsorted(cumulative, 1.0 - share, side="left"))
    return float(histogram.edges[first]), float(histogram.edges[last + 1])


def mse_range(histogram: Histogram, whole: Range, effect: Effect | None = None, tail: Tail | None = None) -> Range:
    """The range whose int8 grid has the least mean squared error on the histogram.

    Args:
        effect: what the consumers make of the tensor (see ``consumers.py``); the error is then
            judged after them: a Swish does not care about what lies far below zero.
        tail: values beyond those of the histogram that count, too.
    """
    values, counts = _occupied(histogram, tail)
    best, least = _least(values, counts, tail.spans if tail is not None else [whole], effect)
    outer = best
    for factors in (_COARSE, _FINE):
        lows, highs = np.meshgrid(best[0] * factors, best[1] * factors)
        spans = np.stack([np.maximum(lows.ravel(), outer[0]), np.minimum(highs.ravel(), outer[1])], axis=1)
        found, error = _least(values, counts, spans, effect)
        if error < least * (1 - SHARE):
            best, least = found, error
    return best


def reaching_range(statistics: Statistics, tail: Tail, effect: Effect | None = None, *, clip: bool) -> Range:
    """The range with the least mean squared error on what was seen and what is to be expected of other samples.

    Args:
        clip: whether it may leave out what was seen.
    """
    histogram = statistics.histogram
    if histogram is None or histogram.span == 0:
        return statistics.low, statistics.high
    if clip:
        return mse_range(histogram, (statistics.low, statistics.high), effect, tail)
    spans = np.clip(tail.spans, *statistics.told_apart)
    return _least(*_occupied(histogram, tail), spans, effect)[0]


def _least(
    values: NDArray[np.float64], counts: NDArray[np.float64], spans: ArrayLike, effect: Effect | None
) -> tuple[Range, float]:
    """The first of the ranges that has the least error, with it."""
    tried = np.asarray(spans, np.float64)
    errors = _errors(values, counts, tried, effect)
    index = first_least(errors)
    return (float(tried[index, 0]), float(tried[index, 1])), float(errors[index])


def range_error(histogram: Histogram, spans: list[Range], effect: Effect | None = None) -> NDArray[np.float64]:
    """Error of each range on the histogram, relative to the tensor's energy (behind its consumers' functions).

    Args:
        histogram: of the tensor.
        spans: ranges to evaluate.
        effect: what the consumers make of the tensor.
    """
    values, counts = _occupied(histogram)
    return _errors(values, counts, np.array(spans), effect)


def _errors(
    values: NDArray[np.float64], counts: NDArray[np.float64], spans: NDArray[np.float64], effect: Effect | None
) -> NDArray[np.float64]:
    """Mean squared rounding and clipping error of each candidate range, relative to the energy."""
    lows, highs = np.minimum(spans[:, 0], 0.0), np.maximum(spans[:, 1], 0.0)
    scale = np.maximum((highs - lows) / (CODE_MAX - CODE_MIN), 1e-30)
    zero = np.rint(CODE_MIN - lows / scale)
    codes = values[:, None] / scale
    np.rint(codes, out=codes)
    codes += zero
    np.clip(codes, CODE_MIN, CODE_MAX, out=codes)
    codes -= zero
    codes *= scale
    pairs = effect(values, codes) if effect is not None else [(values, codes)]
    errors = np.zeros(len(spans))
    for exact, other in pairs:
        gaps = np.subtract(other, exact[:, None], out=codes if other is codes else None)
        np.square(gaps, out=gaps)
        sums = counts @ gaps
        if not np.isfinite(sums).all():
            sums = counts @ _finite(gaps, _BAD)
        errors += sums / max(float(counts @ _finite(exact**2, 0.0)), 1e-30)
    return errors


def _finite(values: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
    """The values with a number in place of NaN and infinity."""
    return values if np.isfinite(values).all() else np.nan_to_num(values, nan=otherwise, posinf=otherwise)


def _occupied(histogram: Histogram, tail: Tail | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    used = histogram.counts > 0
    values, counts = histogram.centers[used], histogram.counts[used].astype(np.float64)
    if tail is None or not tail.values.size:
        return values, counts
    return np.append(values, tail.values), np.append(counts, tail.counts)


def entropy_range(histogram: Histogram, whole: Range) -> Range:
    """The range whose int8 distribution diverges least (Kullback-Leibler) from the values' distribution.

    Both sides are cut at one distance from zero, so that a lone outlier on one side does not narrow the other.
    """
    values, counts = _occupied(histogram)
    best, least = whole, np.inf
    for threshold in max(-whole[0], whole[1]) * _THRESHOLDS:
        span = (max(min(whole[0], 0.0), -threshold), min(max(whole[1], 0.0), threshold))
        divergence = _divergence(values, counts, span)
        if divergence <= least * (1 + SHARE):
            best, least = span, min(divergence, least)
    return best


def _divergence(values: NDArray[np.float64], counts: NDArray[np.float64], span: Range) -> float:
    """KL divergence of the clipped histogram (values ascending) from its own coarse copy with 256 levels."""
    first, last = np.searchsorted(values, span[0]), np.searchsorted(values, span[1], side="right")
    if first == last:
        return np.inf
    kept = counts[first:last].astype(np.float64)
    reference = kept.copy()
    reference[0] += counts[:first].sum()
    reference[-1] += counts[last:].sum()
    level = ((values[first:last] - span[0]) / (span[1] - span[0]) * (CODE_MAX - CODE_MIN)).astype(np.int64)
    coarse = (np.bincount(level, kept) / np.maximum(np.bincount(level), 1))[level]
    p, q = reference / reference.sum(), coarse / coarse.sum()
    return float(np.sum(p * np.log(p / np.maximum(q, 1e-12))))


def _inside(found: Range, whole: Range) -> Range:
    """Bin edges reach beyond the values they hold: never leave the range that was seen."""
    return max(found[0], whole[0]), min(found[1], whole[1])
