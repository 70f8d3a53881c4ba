"""Outlier channels: norms and gates that one huge channel spoils."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from n6convert.quantization.ceilings import changed_tensors, with_exact_tensors
from n6convert.quantization.methods.base import (
    WORTH,
    Candidate,
    Method,
    MethodContext,
    finds_ranges,
    unclipped,
)
from n6convert.quantization.methods.equalization import equalization
from n6convert.quantization.ranges.carried import still_true
from n6convert.quantization.reparameterization.gate_input import decouple_gate_inputs
from n6convert.quantization.reparameterization.outlier_norm import rewrite_outlier_norms

__all__ = ["METHOD", "outlier_channels"]


def outlier_channels(context: MethodContext, best: Candidate) -> Candidate | None:
    """Norms and gates that one huge channel spoils get other forms, whose channels are then evened out."""
    threads = context.config.threads
    known = best.found
    prepared, norms = rewrite_outlier_norms(best.prepared, context.samples, threads, known.statistics, known.channels)
    prepared, gates = decouple_gate_inputs(prepared, context.samples, threads, known.channels)
    if not norms and not gates:
        return None
    touched = changed_tensors(best.prepared, prepared)
    # norms that are too wide for int8 are known to spoil what they make
    if not norms and not context.promises(best, partial(with_exact_tensors, best.model, touched), WORTH):
        return None
    found = still_true(best.found, best.prepared, prepared, context.probe_samples[0])
    trial = equalization(context, replace(best, prepared=prepared, found=found), promised=True)
    if trial is None:
        return None
    whole = (None if trial.provisional else unclipped(context, trial)) or trial
    return replace(whole, even=True, notes={"norms": norms, "gates": gates, **trial.notes})


METHOD = Method("outlier channels", 2, "equalization", outlier_channels, fits=finds_ranges)
