"""Wide functions: those of operands that span decades, in parts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import onnx_ir as ir

from n6convert.quantization.ceilings import with_exact_tensors
from n6convert.quantization.methods.base import TWICE, Method, times_of
from n6convert.quantization.methods.candidate import BEHIND, Candidate, closeness
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.ranges import finds_ranges
from n6convert.quantization.ranges.carried import still_true
from n6convert.quantization.ranges.find import RangeResult
from n6convert.quantization.reparameterization.wide_range_functions import (
    operand_values,
    split_functions,
    wide_tensors,
)
from n6convert.quantization.stable import best_of, exceeds

__all__ = ["METHOD", "wide_functions"]

#: parts of a function that are tried besides those that its own rounding asks for
_PARTS = (2, 3, 4)


def wide_functions(context: MethodContext, best: Candidate) -> Candidate | None:
    """Logarithms, roots and power laws as sums of parts, each with a grid of its own; as many as pay their time."""
    kept: Candidate | None = None
    wide = wide_tensors(best.prepared)
    if not wide or not context.promises(best, partial(with_exact_tensors, best.model, wide), TWICE):
        return None
    operands = operand_values(best.prepared, context.samples, context.config.threads)
    for parts in (None, *_PARTS):
        prepared, functions = split_functions(best.prepared, operands, parts)
        if not functions or (kept is not None and functions == kept.notes["functions"]):
            continue
        found = still_true(best.found, best.prepared, prepared, context.probe_samples[0])
        closest = _closest(context, prepared, found, screen=True)
        if closest.provisional and closeness(closest) > closeness(best) + TWICE - BEHIND:
            closest = _closest(context, prepared, found, screen=False)
        if kept is None or exceeds(closeness(closest), closeness(kept) + TWICE):
            notes = {"functions": functions, **times_of(context, best, closest)}
            kept = replace(closest, required_gain_db=TWICE, notes=notes)
    return kept


def _closest(context: MethodContext, prepared: ir.Model, before: RangeResult, *, screen: bool) -> Candidate:
    """The INT8 model with or without clipping, whichever is closer to float."""
    trial = context.reshaped(prepared, before, {}, screen=screen)
    whole = context.unclipped(trial)
    return replace(best_of([t for t in (trial, whole) if t is not None], closeness), provisional=trial.provisional)


METHOD = Method("wide functions", 2, "equalization", wide_functions, fits=finds_ranges)
