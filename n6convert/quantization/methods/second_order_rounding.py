"""Weights rounded so that their errors cancel."""

from __future__ import annotations

from n6convert.quantization.layerwise.rounding import anything_to_round
from n6convert.quantization.methods.base import (
    Candidate,
    Method,
    Workshop,
    closeness,
    rounds,
)
from n6convert.quantization.stable import best_of, exceeds

__all__ = ["METHOD", "second_order_rounding"]


def second_order_rounding(shop: Workshop, best: Candidate) -> Candidate | None:
    """Weights rounded so that their errors cancel on the samples, with bias correction where that helps both."""
    if not anything_to_round(best.prepared, best.plan):
        return None
    trial = shop.refined(best, rounding=True, bias=best.bias)
    if best.bias == "off" or exceeds(closeness(trial), closeness(best)):
        return trial
    alone = shop.refined(best, rounding=True, bias="off", screen=True)
    if alone.partly and exceeds(closeness(alone), closeness(best)):
        alone = shop.refined(best, rounding=True, bias="off")
    return best_of((trial, alone), closeness)


METHOD = Method("second-order rounding", 5, rounds, second_order_rounding)
