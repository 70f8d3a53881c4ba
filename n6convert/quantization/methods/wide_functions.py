"""Functions of operands that span decades, in parts."""

from __future__ import annotations

from dataclasses import replace

from n6convert.quantization.methods.base import (
    TWICE,
    Candidate,
    Method,
    Workshop,
    closeness,
    evens,
    times_of,
    unclipped,
)
from n6convert.quantization.reparameterization.wide_range_functions import split_functions
from n6convert.quantization.stable import best_of, exceeds

__all__ = ["METHOD", "wide_functions"]

#: parts of a function that are tried besides those that its own rounding asks for
_PARTS = (2, 3, 4)


def wide_functions(shop: Workshop, best: Candidate) -> Candidate | None:
    """Logarithms, roots and power laws as sums of parts, each with a grid of its own; as many as pay their time."""
    kept: Candidate | None = None
    for parts in (None, *_PARTS):
        prepared, functions = split_functions(best.prepared, shop.samples, shop.config.threads, parts)
        if not functions or (kept is not None and functions == kept.notes["functions"]):
            continue
        trial = shop.quantized(prepared)
        trials = [t for t in (trial, unclipped(shop, trial)) if t is not None]
        closest = best_of(trials, closeness)
        if kept is None or exceeds(closeness(closest), closeness(kept) + TWICE):
            notes = {"functions": functions, **times_of(shop, best, closest)}
            kept = replace(closest, owed_db=TWICE, notes=notes)
    return kept


METHOD = Method("wide functions", 2, evens, wide_functions)
