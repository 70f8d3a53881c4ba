"""Unseen values: ranges that hold what other samples will reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from n6convert.quantization.methods.base import Method
from n6convert.quantization.methods.candidate import Candidate, closeness, enforced
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.ranges import clips_nothing, finds_ranges, unclipped_ranges
from n6convert.quantization.ranges.find import RangeResult, ranges_beyond
from n6convert.quantization.stable import best_of, exceeds
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
    trials = [trial for found, clip in starts for trial in _reaching(context, best, found, clip=clip)]
    return replace(best_of(trials, closeness), required_gain_db=-context.evaluator.blind_db) if trials else None


def _reaching(context: MethodContext, best: Candidate, found: RangeResult, *, clip: bool) -> Iterator[Candidate]:
    """The INT8 model with wider ranges of all tensors; where that is no closer to float, also with those of small ones.

    Args:
        context: what methods work with.
        best: the model so far.
        found: its ranges, or the same without clipping.
        clip: whether ranges may leave out rare values.
    """
    for most in (np.inf, _SMALL):
        wider = ranges_beyond(
            best.prepared, found, context.probe_samples, clip=clip, most=most, threads=context.config.threads
        )
        trial = context.quantized(best.prepared, wider) if wider is not None else None
        if trial is not None and enforced(trial) <= enforced(best):
            yield replace(trial, provisional=best.provisional, reaching=True)
            if context.config.effort != "thorough" and exceeds(closeness(trial), closeness(best)):
                return


def _chooses_ranges(config: QuantizationConfig) -> bool:
    """Whether the recipe leaves open how far ranges reach."""
    return config.ranges in ("mse", "auto") and finds_ranges(config)


METHOD = Method("unseen values", 2, "unseen_values", unseen_values, fits=_chooses_ranges, unseen=True)
