"""Second-order rounding: weights rounded so that their errors cancel."""

from __future__ import annotations

from functools import partial

from n6convert.quantization.ceilings import with_exact_weights
from n6convert.quantization.layerwise.rounding import anything_to_round
from n6convert.quantization.methods.base import (
    WORTH,
    Candidate,
    Method,
    MethodContext,
    closeness,
    is_undecided,
)
from n6convert.quantization.stable import best_of, exceeds
from n6convert.recipe.quantization import Bias

__all__ = ["METHOD", "second_order_rounding"]

#: dB that weights without rounding must bring where biases are corrected anew with every layer: rounding them better
#: brings about half of it on held-back samples, and more on others that have rarer values
_WORTH = 0.5


def second_order_rounding(context: MethodContext, best: Candidate) -> Candidate | None:
    """Weights rounded so that their errors cancel on the samples, with bias correction where that helps both."""
    if best.rounded or not anything_to_round(best.prepared, best.plan):
        return None
    least = WORTH if best.bias == "off" else _WORTH
    if not context.promises(best, partial(with_exact_weights, best.prepared, best.model), least):
        return None
    trial = _rounded(context, best, best.bias)
    if best.bias == "off" or exceeds(closeness(trial), closeness(best)):
        return trial
    return best_of((trial, _rounded(context, best, "off")), closeness)


def _rounded(context: MethodContext, best: Candidate, bias: Bias) -> Candidate:
    """Weights rounded on some samples, and on all where these are not enough for a better model, but nearly so."""
    some = context.refined(best, rounding=True, bias=bias, screen=True)
    closer = exceeds(closeness(some), closeness(best))
    return context.refined(best, rounding=True, bias=bias) if is_undecided(some, best) and not closer else some


METHOD = Method("second-order rounding", 5, "rounding", second_order_rounding)
