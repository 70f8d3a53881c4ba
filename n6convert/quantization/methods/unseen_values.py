"""Unseen values: ranges that hold what other samples will reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from n6convert.quantization.methods.base import Method
from n6convert.quantization.methods.candidate import Candidate, closeness, enforced
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.ranges import clips_nothing, finds_ranges, unclipped_ranges
from n6convert.quantization.ranges.find import ranges_beyond
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
    whole = None if clips_nothing(best.prepared, best.found) else unclipped_ranges(best.found)
    clips = whole is not None
    starts = [(best.found, clips), *([(whole, False)] if whole is not None and not context.clips_rightly else [])]
    wider = (
        ranges_beyond(best.prepared, found, context.probe_samples, clip=clip, most=most, threads=context.config.threads)
        for found, clip in starts for most in (np.inf, _SMALL)
    )  # fmt: skip
    trials = [context.quantized(best.prepared, f) for f in wider if f is not None]
    trials = [replace(t, provisional=best.provisional, reaching=True) for t in trials if enforced(t) <= enforced(best)]
    return replace(best_of(trials, closeness), required_gain_db=-context.evaluator.blind_db) if trials else None


def _chooses_ranges(config: QuantizationConfig) -> bool:
    """Whether the recipe leaves open how far ranges reach."""
    return config.ranges in ("mse", "auto") and finds_ranges(config)


METHOD = Method("unseen values", 2, "unseen_values", unseen_values, fits=_chooses_ranges, unseen=True)
