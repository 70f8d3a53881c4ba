"""Unseen values: ranges that hold what other samples will reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from n6convert.quantization.methods.base import (
    Candidate,
    Method,
    MethodContext,
    closeness,
    enforced,
    finds_ranges,
    unclipped_ranges,
)
from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.ranges.find import ranges_beyond
from n6convert.quantization.ranges.softmax_scores import without_hidden
from n6convert.quantization.stable import best_of
from n6convert.recipe.quantization import QuantizationConfig

__all__ = ["METHOD", "unseen_values"]

#: values of a tensor of which a single one that saturates is a large share
_SMALL = 1024


def unseen_values(context: MethodContext, best: Candidate) -> Candidate | None:
    """Ranges that hold what other samples will reach: of all tensors, or of small ones, where that clips a large share.

    With and without clipping of what was seen, the latter unless clipping brings so much that it was right. Ranges that
    reach that far stay as they are.
    """
    if best.reaching and context.config.effort != "thorough":
        return None
    whole = unclipped_ranges(best.found)
    if whole is not None and _are_alike(
        without_hidden(best.prepared.graph, whole.ranges, whole.statistics), best.found.ranges
    ):
        whole = None
    clips = whole is not None
    starts = [(best.found, clips), *([(whole, False)] if whole is not None and not context.clips_rightly else [])]
    wider = (
        ranges_beyond(best.prepared, found, context.probe_samples, clip=clip, most=most, threads=context.config.threads)
        for found, clip in starts for most in (np.inf, _SMALL)
    )  # fmt: skip
    trials = [context.quantized(best.prepared, f) for f in wider if f is not None]
    trials = [replace(t, provisional=best.provisional, reaching=True) for t in trials if enforced(t) <= enforced(best)]
    return replace(best_of(trials, closeness), required_gain_db=-context.evaluator.blind_db) if trials else None


def _are_alike(ranges: Mapping[str, Range], others: Mapping[str, Range]) -> bool:
    """Whether no end of a range lies a step of its grid away from the other one."""
    if ranges.keys() != others.keys():
        return False
    a, b = (np.array([r[name] for name in ranges]).reshape(-1, 2) for r in (ranges, others))
    return bool((np.abs(a - b) <= (a[:, 1:] - a[:, :1]) / 255).all())


def _chooses_ranges(config: QuantizationConfig) -> bool:
    """Whether the recipe leaves open how far ranges reach."""
    return config.ranges in ("mse", "auto") and finds_ranges(config)


METHOD = Method("unseen values", 2, "unseen_values", unseen_values, fits=_chooses_ranges)
