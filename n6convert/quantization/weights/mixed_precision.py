"""Which layers get four-bit weights: predicted time (or flash) saved against closeness lost, on held-back samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.stable import exceeds
from n6convert.quantization.weights.four_bits import Narrow, narrow_layers, saved_bytes
from n6convert.quantization.weights.layer_noise import layer_noise
from n6convert.quantization.weights.narrow_curve import POINTS, Costs, Curve, Goals
from n6convert.quantization.weights.narrow_selection import Choice, allowed_noise, candidates, exchanged

if TYPE_CHECKING:
    from n6convert.quantization.fidelity import Fidelity
    from n6convert.quantization.methods import Candidate, MethodContext

__all__ = ["Costs", "Goals", "facts_of", "narrowed"]

#: how often more is asked for where the predicted savings fall short, and at least by which share of all
_TRIALS, _LEAST_SHORT = 5, 1e-3
#: samples on which codes are first chosen, to see what each layer loses
_FIRST = 16


def narrowed(context: MethodContext, best: Candidate, goals: Goals) -> Candidate:
    """The best model with some or all of its weights in four bits, rounded and corrected for them.

    Args:
        goals: with ``mixed``, the fewest layers that reach them; without any, the most that cost no more closeness
            than ``weights_loss_db`` and keep the recipe's limits.

    Raises:
        BudgetExceeded: the time budget ended.
    """
    config = context.config
    few = context.first(min(_FIRST, config.refine_samples))
    found = narrow_layers(best.prepared, best.model, few, config.threads, context.budget, context.progress)
    curve, count = Curve(context, best, found, goals), len(found)
    if config.weights == "mixed":
        curve, count = _chosen(context, best, found, goals)
    order = curve.order
    chosen, trial = order[:count], curve.refined(count)
    curve.fidelity(len(order) // 2)  # the report draws more than the ends and the choice
    facts = {
        "layers": [n.layer for n in chosen],
        "of": len(order),
        "bytes_saved": saved_bytes(chosen),
        "weight_bytes": curve.predicted(count)[0],
        "curve": curve.facts(),
    }
    return replace(trial, notes={"four_bits": facts})


def _chosen(context: MethodContext, best: Candidate, found: Sequence[Narrow], goals: Goals) -> tuple[Curve, int]:
    """Layers in the order in which they are taken, and how many are."""
    samples, threads = context.evaluator.samples, context.config.threads

    def noise_of(layers: Sequence[Narrow]) -> Mapping[str, float]:
        return layer_noise(best.prepared, best.model, layers, samples, threads, context.budget)

    asks = {"asks_time": goals.milliseconds is not None, "asks_flash": goals.flash_bytes is not None}
    curve = Curve(context, best, found, goals)
    times = None if goals.predicts is None else [curve.costs(n).layers for n in (0, len(found))]
    choices = candidates(best.model, found, noise_of, times, **asks)
    curve = curve.reordered(_layers(choices))
    if not any(asks.values()):
        return curve, _most(curve, goals, _least_closeness(curve, goals, context.config.weights_loss_db))
    return _reaching(curve, choices, goals)


def _reaching(curve: Curve, choices: Sequence[Choice], goals: Goals) -> tuple[Curve, int]:
    """The layers that reach the goals with the least noise.

    What layers save together is predicted, and hardly differs from what they save alone; where it falls short, more is
    asked for.
    """
    needed, trial = _needed(curve, goals, 0), curve
    for _ in range(_TRIALS):
        chosen = _layers(exchanged(choices, needed))
        names = {n.layer for n in chosen}
        trial, count = curve.reordered([*chosen, *(n for n in curve.order if n.layer not in names)]), len(chosen)
        if _reaches(*trial.predicted(count), goals):
            return trial, count
        short = _needed(trial, goals, count)
        needed = np.minimum(needed + np.where(short > 0, short.clip(_LEAST_SHORT), 0.0), 1.0)
    return trial, trial.first(lambda n: _reaches(*trial.predicted(n), goals))


def _needed(curve: Curve, goals: Goals, count: int) -> NDArray[np.float64]:
    """Time and flash that so many layers do not save yet, as shares of what all save."""
    (flash, time), now, (least_flash, least_time) = (curve.predicted(n) for n in (0, count, len(curve.order)))
    needed = np.zeros(2)
    if goals.milliseconds is not None and time is not None and time > (least_time or 0.0):
        needed[0] = ((now[1] or 0.0) - goals.milliseconds) / (time - (least_time or 0.0))
    if goals.flash_bytes is not None and flash > least_flash:
        needed[1] = (now[0] - goals.flash_bytes) / (flash - least_flash)
    return needed.clip(0.0, 1.0)


def _layers(choices: Iterable[Choice]) -> list[Narrow]:
    return [narrow for choice in choices for narrow in choice.layers]


def _least_closeness(curve: Curve, goals: Goals, loss_db: float) -> float:
    """Closeness to float in dB that must be left."""
    if goals.drop is not None:
        return _closeness_by_labels(curve, goals.drop, goals.max_drop)
    return curve.closeness(0) - loss_db if goals.keeps is None else -math.inf


def _closeness_by_labels(curve: Curve, drop: Callable[[ir.Model], float], most: float) -> float:
    """Closeness to float in dB at which labels expect the largest drop, at most that of eight bits."""
    counts = sorted({0, *(len(curve.order) >> halved for halved in range(POINTS))})
    noise = [_noise(curve.closeness(n)) for n in counts]
    allowed = allowed_noise(noise, [drop(curve.plain(n)) for n in counts], most)
    return -10 * math.log10(max(allowed, noise[0])) if allowed < math.inf else -math.inf


def _most(curve: Curve, goals: Goals, least: float) -> int:
    """As many layers as leave the least closeness. Refining takes a part of it back, so more may do than the curve
    says: all of them, or as many as that part of their noise leaves, are tried."""
    whole = len(curve.order)

    def near(found: Fidelity) -> bool:
        return not exceeds(least, found.closeness_db) and (goals.keeps is None or goals.keeps(found.outputs_sqnr_db))

    def good(count: int) -> bool:
        return near(curve.refined(count).fidelity)

    certain = curve.last(lambda count: near(curve.fidelity(count)))
    if certain == whole or good(whole):
        return whole
    base, all_plain = (_noise(curve.closeness(n)) for n in (0, whole))
    left = (_noise(curve.refined(whole).fidelity.closeness_db) - base) / max(all_plain - base, 1e-12)
    expected = curve.last(lambda count: base + left * (_noise(curve.closeness(count)) - base) <= _noise(least))
    further = min(expected, whole - 1) if goals.keeps is None else (certain + whole) // 2
    return further if further > certain and good(further) else certain


def _noise(closeness_db: float) -> float:
    return float(10 ** (-closeness_db / 10))


def _reaches(flash: int, milliseconds: float | None, goals: Goals) -> bool:
    fast = goals.milliseconds is None or milliseconds is None or milliseconds <= goals.milliseconds
    return fast and (goals.flash_bytes is None or flash <= goals.flash_bytes)


def facts_of(candidate: Candidate) -> dict[str, Any]:
    """The section of the report; empty when all weights have eight bits."""
    return dict(candidate.notes.get("four_bits", {}))
