"""Second-order rounding: weights rounded so that their errors cancel."""

from __future__ import annotations

from n6convert.quantization.layerwise.rounding import anything_to_round
from n6convert.quantization.methods.base import Method
from n6convert.quantization.methods.candidate import Candidate, closeness, is_undecided
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.stable import best_of, exceeds
from n6convert.recipe.quantization import Bias

__all__ = ["METHOD", "WORTH", "second_order_rounding"]

#: dB that weights without rounding must bring: rounding them better brought a quarter of it on real networks, for two
#: walks over the layers
WORTH = 2.0


def second_order_rounding(context: MethodContext, best: Candidate) -> Candidate | None:
    """Weights rounded so that their errors cancel on the samples, with bias correction where that helps both."""
    if best.rounded or not anything_to_round(best.prepared, best.plan):
        return None
    if not context.rounding_promises(best, WORTH):
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


METHOD = Method("second-order rounding", 5, "rounding", second_order_rounding, refines=True)
