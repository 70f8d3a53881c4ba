"""What methods ask of the ranges that were found: whether they clip, and those that do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.ranges.find import CLIPS_NOTHING, RangeResult
from n6convert.quantization.ranges.softmax_scores import without_hidden
from n6convert.recipe.quantization import QuantizationConfig

__all__ = ["all_read", "clips_nothing", "finds_ranges", "unclipped_ranges"]


def unclipped_ranges(found: RangeResult, within: Mapping[str, Range] | None = None) -> RangeResult | None:
    """The same statistics with ranges of all values that consumers tell apart, and others where given.

    None when they are those already.
    """
    ranges = {name: s.read for name, s in found.statistics.items()}
    for name, span in (within or {}).items():
        low, high = ranges.get(name, span)
        ranges[name] = min(low, span[0]), max(high, span[1])
    if not ranges or ranges | found.kept == found.ranges:
        return None
    return RangeResult(
        ranges | found.kept, found.statistics, found.effects, {}, kept=found.kept, channels=found.channels
    )


def all_read(prepared: ir.Model, found: RangeResult) -> RangeResult | None:
    """Ranges of all values that are read; None when they are those already, but for less than a step."""
    whole = unclipped_ranges(found)
    if whole is None:
        return None
    ranges = without_hidden(prepared.graph, whole.ranges, found.statistics)
    return None if _are_alike(ranges, found.ranges) else replace(whole, ranges=ranges)


def clips_nothing(prepared: ir.Model, found: RangeResult) -> bool:
    """Whether ranges were chosen so, or none leaves out what is read, but for less than a step of its grid."""
    return found.chosen.keys() == {CLIPS_NOTHING} or all_read(prepared, found) is None


def _are_alike(ranges: Mapping[str, Range], others: Mapping[str, Range]) -> bool:
    """Whether no end of a range lies a step of its grid away from the other one."""
    if ranges.keys() != others.keys():
        return False
    a, b = (np.array([r[name] for name in ranges]).reshape(-1, 2) for r in (ranges, others))
    return bool((np.abs(a - b) <= (a[:, 1:] - a[:, :1]) / 255).all())


def finds_ranges(config: QuantizationConfig) -> bool:
    """Whether ranges are found on samples; given ones would not fit channels that were evened out."""
    return config.ranges_file is None
