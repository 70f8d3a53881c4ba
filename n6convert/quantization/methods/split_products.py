"""Split products: attention sums in two parts."""

from __future__ import annotations

from dataclasses import replace

from n6convert.quantization.methods.base import Method
from n6convert.quantization.methods.candidate import Candidate, closeness
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.ranges import finds_ranges
from n6convert.quantization.reparameterization.split_products import split_products
from n6convert.quantization.stable import best_of

__all__ = ["METHOD", "split_attention_sums"]

#: split products take noise away that long sequences have; held-back ones may be short and show next to nothing
_UNSEEN = 0.2


def split_attention_sums(context: MethodContext, best: Candidate) -> Candidate | None:
    """Attention sums in two parts, which cost the NPU time."""
    prepared, products = split_products(best.prepared, context.samples, context.config.threads)
    if not products:
        return None
    trial = context.quantized(prepared)
    trials = [t for t in (trial, context.unclipped(trial)) if t is not None]
    return replace(best_of(trials, closeness), notes={"products": products})


METHOD = Method("split products", 2, "split_products", split_attention_sums, _UNSEEN, finds_ranges)
