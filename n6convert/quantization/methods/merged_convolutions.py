"""Merged convolutions: two with nothing between them as one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial

import onnx_ir as ir

from n6convert.quantization.ceilings import with_exact_tensors, with_exact_weights
from n6convert.quantization.equalization.equalize import difference
from n6convert.quantization.grid.from_ranges import make_plan, observed
from n6convert.quantization.grid.qdq import write_qdq
from n6convert.quantization.methods.base import EXACT, Method, priced
from n6convert.quantization.methods.candidate import BEHIND, Candidate, closeness, is_undecided
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.equalization import METHOD as EQUALIZATION
from n6convert.quantization.methods.second_order_rounding import METHOD as ROUNDING
from n6convert.quantization.methods.second_order_rounding import WORTH
from n6convert.quantization.methods.unseen_values import METHOD as UNSEEN_VALUES
from n6convert.quantization.ranges.find import RangeResult
from n6convert.quantization.reparameterization.merge_convolutions import merge_across, merge_pairs, slower_alone
from n6convert.quantization.stable import exceeds

__all__ = ["METHOD", "merged_convolutions"]

#: less than few held-back samples can tell; means that are right are right for other samples too
_TIE = 0.1
#: of the whole time that pairs save alone, or dB that exact tensors between them bring: less is not worth ranges,
#: biases and rounding made anew
_SAVED, _SEEN_DB = 0.01, 0.5


def merged_convolutions(context: MethodContext, best: Candidate) -> Candidate | None:
    """Two convolutions with nothing between them as one, where that is faster or hardly slower.

    Ranges, even channels, biases and rounding are made anew for such weights, also where biases of the two stay. A
    slower result must be closer by as much as the balanced policy for zero points would ask for the time.
    """
    assert context.milliseconds is not None, "asked for by the method"

    def int8(prepared: ir.Model) -> ir.Model:
        return write_qdq(prepared, make_plan(prepared.graph, best.found.ranges))

    alone = slower_alone(best.prepared, context.milliseconds)
    if not alone or not _pays(context, best, -sum(min(slower, 0.0) for slower in alone.values()), alone):
        return None
    prepared, pairs = merge_pairs(best.prepared, context.milliseconds, int8, alone)
    left = {v.name for node in prepared.graph for v in node.outputs}
    merged = [name for name in alone if name not in left]
    if not merged or not _pays(context, best, sum(pair["saved_ms"] for pair in pairs), merged):
        return None
    if difference(best.prepared, prepared, context.probe_samples[0], context.config.threads) > EXACT:
        return None
    made = context.quantized(prepared, _of_what_is_left(prepared, best.found))
    trial = replace(made, even=best.even, reaching=best.reaching)
    if _is_hopeless(context, trial, best):
        return None
    for method, attempt in ((EQUALIZATION, partial(_even, before=best)), (UNSEEN_VALUES, UNSEEN_VALUES.attempt)):
        other = attempt(context, trial) if method.wanted(context.config) else None
        if other is not None and exceeds(closeness(other), closeness(trial)):
            trial = other
    rounding, bias = _is_worth_rounding(context, trial), context.config.bias_correction
    tried = context.refined(trial, rounding=rounding, bias=bias, screen=True)
    if is_undecided(tried, best) and not exceeds(closeness(tried), closeness(best)):
        tried = context.refined(trial, rounding=rounding, bias=bias)
    return priced(context, best, replace(tried, notes={"pairs": pairs}))


def _pays(context: MethodContext, best: Candidate, saved: float, between: Collection[str]) -> bool:
    """Whether pairs save time that counts, or the rounding of the tensors between them is seen in the outputs."""
    assert context.milliseconds is not None, "asked for by the method"
    if saved > _SAVED * context.milliseconds(best.model):
        return True
    return context.promises(best, partial(with_exact_tensors, best.model, between), _SEEN_DB)


def _is_hopeless(context: MethodContext, merged: Candidate, best: Candidate) -> bool:
    """Whether merged convolutions stay behind even with exact weights and right means: refining brings no more."""
    if context.config.effort == "thorough":
        return False
    exact = context.evaluator.fidelity(with_exact_weights(merged.prepared, merged.model))
    most_db = exact.closeness_db + max(exact.shift_db, 0.0) - closeness(best)
    if most_db < -BEHIND:
        context.most_db = most_db
    return most_db < -BEHIND


def _is_worth_rounding(context: MethodContext, merged: Candidate) -> bool:
    """Whether rounding can bring what makes up for its walk: second moments of a merged kernel are large matrices."""
    return ROUNDING.wanted(context.config) and context.rounding_promises(merged, WORTH)


def _even(context: MethodContext, merged: Candidate, *, before: Candidate) -> Candidate | None:
    """Merged convolutions with even channels: by the factors that the two got, where they got any.

    Args:
        context: what methods work with.
        merged: the model with one convolution each.
        before: the model with two.
    """
    known = context.evened
    if before.even or known is None or known[0] is not before.prepared or context.config.effort == "thorough":
        return EQUALIZATION.attempt(context, merged)
    form, left = known[1], {v.name for node in merged.prepared.graph for v in node.outputs}
    between = [v.name or "" for node in before.prepared.graph for v in node.outputs if v.name not in left]
    prepared = merge_across(form.prepared, between)
    made = context.quantized(prepared, _of_what_is_left(prepared, form.found))
    return replace(made, even=True, provisional=form.provisional)


def _of_what_is_left(prepared: ir.Model, found: RangeResult) -> RangeResult:
    """What was found of the tensors that a model with the same values still has."""
    names = set(observed(prepared.graph))
    return replace(found, ranges={name: span for name, span in found.ranges.items() if name in names})


METHOD = Method("merged convolutions", 4, "merge_convolutions", merged_convolutions, _TIE, predicts=True, refines=True)
