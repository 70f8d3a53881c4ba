"""Weights rounded so that their errors cancel."""

from __future__ import annotations

from n6convert.quantization.layerwise.rounding import anything_to_round
from n6convert.quantization.methods.base import (
    BEHIND,
    Candidate,
    Method,
    Workshop,
    closeness,
    rounds,
)
from n6convert.quantization.stable import best_of, exceeds
from n6convert.recipe.quantization import Bias

__all__ = ["METHOD", "second_order_rounding"]


def second_order_rounding(shop: Workshop, best: Candidate) -> Candidate | None:
    """Weights rounded so that their errors cancel on the samples, with bias correction where that helps both."""
    if not anything_to_round(best.prepared, best.plan):
        return None
    trial = _on_all_if_close(shop, best, best.bias, BEHIND)
    if best.bias == "off" or exceeds(closeness(trial), closeness(best)):
        return trial
    return best_of((trial, _on_all_if_close(shop, best, "off", 0.0)), closeness)


def _on_all_if_close(shop: Workshop, best: Candidate, bias: Bias, behind: float) -> Candidate:
    """Weights rounded on some samples, and on all where these do not leave it too far behind."""
    some = shop.refined(best, rounding=True, bias=bias, screen=True)
    if not some.partly or not exceeds(closeness(some) + behind, closeness(best)):
        return some
    return shop.refined(best, rounding=True, bias=bias)


METHOD = Method("second-order rounding", 5, rounds, second_order_rounding)
