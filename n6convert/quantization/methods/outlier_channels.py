"""Norms and gates that one huge channel spoils."""

from __future__ import annotations

from dataclasses import replace

from n6convert.quantization.methods.base import (
    Candidate,
    Method,
    Workshop,
    evens,
    unclipped,
)
from n6convert.quantization.methods.equalization import equalization
from n6convert.quantization.ranges.carried import still_true
from n6convert.quantization.reparameterization.gate_input import loosen_gates
from n6convert.quantization.reparameterization.outlier_norm import widen_norms

__all__ = ["METHOD", "outlier_channels"]


def outlier_channels(shop: Workshop, best: Candidate) -> Candidate | None:
    """Norms and gates that one huge channel spoils get other forms, whose channels are then evened out."""
    threads = shop.config.threads
    prepared, norms = widen_norms(best.prepared, shop.samples, threads)
    prepared, gates = loosen_gates(prepared, shop.samples, threads, None if norms else best.found.channels)
    if not norms and not gates:
        return None
    found = still_true(best.found, best.prepared, prepared, shop.few[0])
    trial = equalization(shop, replace(best, prepared=prepared, found=found))
    if trial is None:
        return None
    whole = (None if trial.provisional else unclipped(shop, trial)) or trial
    return replace(whole, notes={"norms": norms, "gates": gates, **trial.notes})


METHOD = Method("outlier channels", 2, evens, outlier_channels)
