"""Bias correction: channel means as in float."""

from __future__ import annotations

from dataclasses import replace

from n6convert.quantization.layerwise.rounding import anything_to_round
from n6convert.quantization.methods.base import Method
from n6convert.quantization.methods.candidate import Candidate, closeness, enforced, scatter_db
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.ranges import unclipped_ranges
from n6convert.quantization.padding import tokens_of
from n6convert.quantization.stable import best_of

__all__ = ["METHOD", "bias_correction"]

#: less than few held-back samples can tell; means that are right are right for other samples too
_TIE = 0.1
#: dB that errors must have in common over the held-back samples: correcting takes about half of it away
_IN_COMMON = 0.2
#: dB that are no chance on any samples
_CERTAIN = 0.5
#: dB behind that corrected biases seldom make up for
_HOPELESS = 0.25


def bias_correction(context: MethodContext, best: Candidate) -> Candidate | None:
    """Correct biases so that channel means are those of float, on the samples or by what BatchNormalization knows.

    Shifted means are what a network's errors have in common: where outputs have none of that, nothing is corrected.

    Without clipping as well: what clipping saves is often a shift of means, which this takes away at no cost.
    """
    kind = context.config.bias_correction
    thorough = context.config.effort == "thorough"
    if not thorough and best.fidelity.shift_db < _IN_COMMON:
        return _by_means(context, best) if kind == "sequential" else None
    whole = None if context.clips_rightly else unclipped_ranges(best.found, best.found.ranges)
    other = context.quantized(best.prepared, whole) if whole is not None else None
    starts = [s for s in (best, other) if s is not None and enforced(s) <= enforced(best)]
    if not thorough:
        starts = [s for s in starts if closeness(s) > closeness(best) - _HOPELESS]
    trials = [context.refined(s, rounding=False, bias=kind, screen=True) for s in starts]
    trial = best_of(trials, closeness)
    ranges = {"ranges": "minmax"} if trial is not trials[0] else {}
    return replace(trial, notes={"kind": kind, **ranges, **trial.notes})


def _by_means(context: MethodContext, best: Candidate) -> Candidate | None:
    """What rounded weights shift taken back for padded texts; None for others, and where weights shift nothing.

    Held-back samples have to say for certain that it is worse: few short texts hold few rows. The many places of maps
    have said already that there is nothing in common.
    """
    padded = any(tokens_of(best.prepared.graph, sample) is not None for sample in context.probe_samples)
    if not (padded and anything_to_round(best.prepared, best.plan) and context.input_means(best.prepared)):
        return None
    trial = context.refined(best, rounding=False, bias="means")
    return replace(trial, required_gain_db=-min(2 * scatter_db(trial, best), _CERTAIN), notes={"kind": "means"})


METHOD = Method("bias correction", 3, "bias_correction", bias_correction, _TIE, refines=True)
