"""Cross-layer equalization of channels."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from n6convert.quantization.ceilings import with_exact_tensors
from n6convert.quantization.equalization.equalize import Evened, difference, equalize
from n6convert.quantization.methods.base import EXACT, WORTH, Method
from n6convert.quantization.methods.candidate import Candidate, closeness, enforced
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.ranges import finds_ranges, unclipped_ranges

__all__ = ["METHOD", "equalization"]


def equalization(
    context: MethodContext, best: Candidate, *, promised: bool = False, whole: bool = False
) -> Candidate | None:
    """Even channels; bounds of clips that no grid replaces afterwards, which the CPU would enforce, stay in place.

    Channels that were evened out before are not again: what is left of their unevenness has its reasons. Tensors that
    nothing is known of are first looked at on a share of the samples; where the result is no closer, it
    stays provisional.

    Args:
        context: what methods work with.
        best: the model so far; its float model may have another form than its INT8 model by now.
        promised: whether it is known that finer tensors bring something.
        whole: no range clips, whatever those of the model so far do.
    """
    if best.even and context.config.effort != "thorough":
        return None
    screen, fixed = True, enforced(best)
    whole = whole or unclipped_ranges(best.found) is None
    best = replace(best, found=context.completed(best.prepared, best.found))
    while (even := _even_channels(context, best, fixed)) is not None:
        if not (promised or context.promises(best, partial(with_exact_tensors, best.model, even.factors), WORTH)):
            return None
        if difference(best.prepared, even.model, context.probe_samples[0], context.config.threads) > EXACT:
            return None
        trial = _evened(context, best, even, fixed if whole else None, screen)
        if trial.provisional and closeness(trial) > closeness(best):
            screen = bool(enforced(trial) - fixed)
            trial = trial if screen else _evened(context, best, even, fixed if whole else None, False)
        if enforced(trial) <= fixed:
            context.evened = best.prepared, trial
            return trial
        fixed |= enforced(trial)
    return None


def _even_channels(context: MethodContext, best: Candidate, fixed: frozenset[str]) -> Evened | None:
    """The float model with even channels; None where nothing is scaled."""
    config = context.config
    even = equalize(
        best.prepared,
        context.samples,
        strength=config.equalization_strength,
        threads=config.threads,
        fixed=fixed,
        known=best.found.channels,
    )
    return even if even.records else None


def _evened(
    context: MethodContext, best: Candidate, even: Evened, bounds: frozenset[str] | None, screen: bool
) -> Candidate:
    """The INT8 model of a float model with even channels; without clipping within bounds that may be enforced."""
    trial = context.reshaped(even.model, best.found, even.factors, screen=screen, bounds=bounds)
    return replace(trial, even=True, notes={"groups": even.records})


METHOD = Method("equalization", 2, "equalization", equalization, fits=finds_ranges)
