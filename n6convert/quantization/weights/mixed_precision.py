"""Which layers get four-bit weights: predicted time (or flash) saved against closeness lost, on held-back samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.quantization.stable import exceeds
from n6convert.quantization.weights.four_bits import Narrow, narrow_layers, saved_bytes
from n6convert.quantization.weights.layer_noise import layer_noise
from n6convert.quantization.weights.narrow_curve import Costs, Curve, Goals, noise_in
from n6convert.quantization.weights.narrow_selection import Choice, allowed_noise, candidates, exchanged

if TYPE_CHECKING:
    from n6convert.quantization.fidelity import Fidelity
    from n6convert.quantization.methods import Candidate, MethodContext

__all__ = ["Costs", "Goals", "facts_of", "narrowed"]

#: how often more is asked for where the predicted savings fall short, and at least by which share of all
_TRIALS, _LEAST_SHORT = 5, 1e-3
#: models at most that labels judge
_JUDGED = 4
#: of the noise that layers add, what is left once they are refined: about that of real networks
_LEFT = 0.7
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
        curve, count = _chosen(context, best, curve, goals)
    order = curve.order
    chosen, trial = order[:count], curve.refined(count)
    facts = {
        "layers": [n.layer for n in chosen],
        "of": len(order),
        "bytes_saved": saved_bytes(chosen),
        "weight_bytes": curve.predicted(count)[0],
        "curve": curve.facts(),
    }
    return replace(trial, notes={"four_bits": facts})


def _chosen(context: MethodContext, best: Candidate, curve: Curve, goals: Goals) -> tuple[Curve, int]:
    """Layers in the order in which they are taken, and how many are."""
    found = curve.order
    samples, threads = context.evaluator.samples, context.config.threads

    def noise_of(layers: Sequence[Narrow]) -> Mapping[str, float]:
        return layer_noise(best.prepared, best.model, layers, samples, threads, context.budget)

    asks = {"asks_time": goals.milliseconds is not None, "asks_flash": goals.flash_bytes is not None}
    times = None if goals.predicts is None else [curve.costs(n).layers for n in (0, len(found))]
    choices = candidates(best.model, found, noise_of, times, **asks)
    curve = curve.reordered(_layers(choices), [c.noise / len(c.layers) for c in choices for _ in c.layers])
    if not any(asks.values()):
        return curve, _most(curve, goals, _allowed(curve, goals, context.config.weights_loss_db))
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


def _allowed(curve: Curve, goals: Goals, loss_db: float) -> float:
    """Noise that a model may have."""
    if goals.judged is not None:
        return _allowed_by_labels(curve, goals.max_drop)
    return curve.noise(0) * 10 ** (loss_db / 10) if goals.keeps is None else math.inf


def _allowed_by_labels(curve: Curve, most: float) -> float:
    """Noise with which labels expect the largest drop, at least that of eight bits.

    From none and all layers on, labels judge the model of which those before say that it loses just so much.
    """
    counts = [0, len(curve.order)]
    while True:
        noise = [curve.noise(n) for n in counts]
        allowed = allowed_noise(noise, [curve.drop(n) for n in counts], most)
        between = allowed if noise[0] < allowed < noise[1] else math.sqrt(noise[0] * noise[1])
        near = curve.near(between)
        if near in counts or len(counts) == _JUDGED:
            return max(allowed, noise[0])
        counts.append(near)


def _most(curve: Curve, goals: Goals, allowed: float) -> int:
    """As many layers as are allowed. Refining takes a part of their noise back, so more may do than the curve says."""

    def near(found: Fidelity) -> bool:
        close = not exceeds(-10 * math.log10(max(allowed, 1e-30)), found.closeness_db)
        return close and (goals.keeps is None or goals.keeps(found.outputs_sqnr_db))

    def good(count: int) -> bool:
        return near(curve.refined(count).fidelity)

    if goals.keeps is not None:
        return _halved(curve, near, good)
    base = curve.noise(0)
    tried = curve.within(base + (allowed - base) / _LEFT)
    if good(tried):
        return tried
    certain = curve.within(allowed)
    fewer = curve.within(curve.noise(tried) + allowed - noise_in(curve.refined(tried).fidelity))
    return fewer if certain < fewer < tried and good(fewer) else certain


def _halved(curve: Curve, near: Callable[[Fidelity], bool], good: Callable[[int], bool]) -> int:
    """The largest number of layers that, refined or not, keep a limit of which noise says nothing."""
    whole = len(curve.order)
    certain = curve.last(lambda count: near(curve.fidelity(count)))
    if certain == whole or good(whole):
        return whole
    further = (certain + whole) // 2
    return further if further > certain and good(further) else certain


def _reaches(flash: int, milliseconds: float | None, goals: Goals) -> bool:
    fast = goals.milliseconds is None or milliseconds is None or milliseconds <= goals.milliseconds
    return fast and (goals.flash_bytes is None or flash <= goals.flash_bytes)


def facts_of(candidate: Candidate) -> dict[str, Any]:
    """The section of the report; empty when all weights have eight bits."""
    return dict(candidate.notes.get("four_bits", {}))
