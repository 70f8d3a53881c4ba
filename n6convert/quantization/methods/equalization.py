"""Cross-layer equalization of channels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import onnx_ir as ir

from n6convert.quantization.equalization.equalize import difference, equalize
from n6convert.quantization.methods.base import (
    BEHIND,
    EXACT,
    Candidate,
    Method,
    Workshop,
    closeness,
    enforced,
    evens,
    unclipped,
    unclipped_ranges,
)

__all__ = ["METHOD", "equalization"]


def equalization(shop: Workshop, best: Candidate) -> Candidate | None:
    """Even channels; bounds of clips that no grid replaces afterwards, which the CPU would enforce, stay in place.

    First on a share of the samples; where that falls behind, the result is provisional.
    """
    screen, fixed = True, enforced(best)
    while (even := _even_channels(shop, best, fixed)) is not None:
        trial = _evened(shop, best, *even, screen)
        if screen and trial.provisional and _promises(shop, best, trial):
            screen = bool(enforced(trial) - fixed)
            trial = trial if screen else _evened(shop, best, *even, False)
        if enforced(trial) <= fixed:
            return trial
        fixed |= enforced(trial)
    return None


def _promises(shop: Workshop, best: Candidate, trial: Candidate) -> bool:
    """Whether a trial on a share of the samples is worth all: beside the best model, or beside that on the same share.

    Ranges of fewer samples clip more of the others, which is no fault of even channels.
    """
    least = closeness(trial) + BEHIND
    return least > closeness(best) or least > closeness(_evened(shop, best, best.prepared, [], True))


def _even_channels(
    shop: Workshop, best: Candidate, fixed: frozenset[str]
) -> tuple[ir.Model, list[dict[str, Any]]] | None:
    """The float model with even channels, which must compute the same, and what was scaled; None where nothing is."""
    config = shop.config
    prepared, groups = equalize(
        best.prepared,
        shop.samples,
        strength=config.equalization_strength,
        threads=config.threads,
        fixed=fixed,
        known=shop.known(best.prepared),
    )
    if not groups or difference(best.prepared, prepared, shop.few[0], config.threads) > EXACT:
        return None
    return prepared, groups


def _evened(
    shop: Workshop, best: Candidate, prepared: ir.Model, groups: list[dict[str, Any]], screen: bool
) -> Candidate:
    """The INT8 model of a float model with even channels."""
    trial = shop.quantized(prepared, screen=screen)
    whole = unclipped(shop, trial) if unclipped_ranges(best.found) is None else None
    return replace(whole or trial, provisional=trial.provisional, notes={"groups": groups})


METHOD = Method("equalization", 2, evens, equalization)
