"""Which layers get four bits: the most time or flash saved per noise first, and then exchanges until none is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.stable import SHARE, rounded
from n6convert.quantization.weights.four_bits import Narrow

__all__ = ["Choice", "allowed_noise", "candidates", "exchanged"]

#: least noise that counts, relative to what all layers add on average: less is an accident of few samples
_LEAST_NOISE = 0.01
#: share of all that can be saved below which a layer's noise is not worth measuring
_LEAST_SHARE = 0.005
#: exchanges at most; each takes noise away, so that few follow one another
_EXCHANGES = 100
#: spread of noise that is none
_NOTHING = 1e-30
#: of all that can be saved: what sums of shares may lack
_ROUNDED = 1e-9


@dataclass(frozen=True)
class Choice:
    """Layers that are chosen together.

    Attributes:
        noise: that they add to the last layers' results.
        saved: time and flash that they save, as shares of what all layers save.
        price: noise for what is saved of what is asked for.
    """

    layers: tuple[Narrow, ...]
    noise: float
    saved: NDArray[np.float64]
    price: float


def candidates(
    model: ir.Model,
    found: Sequence[Narrow],
    noise_of: Callable[[Sequence[Narrow]], Mapping[str, float]],
    times: Sequence[Mapping[str, float]] | None,
    *,
    asks_time: bool,
    asks_flash: bool,
) -> list[Choice]:
    """The choices there are, cheapest first.

    Layers that read the same tensor share an epoch, so only together do they save its time: they are one choice, unless
    flash alone is asked for. Those that save next to nothing are not measured, and come last.

    Args:
        model: INT8.
        found: four-bit weights of every layer that may have them.
        noise_of: measures what layers add to the last layers' results, by layer name.
        times: of each layer with eight bits and with four, in milliseconds by name; None: bytes alone count.
        asks_time, asks_flash: what is to be saved; both where nothing is asked for.
    """
    sources = {layer.name: layer.initializer(0).name or "" for layer in layers_of(model)}
    together: dict[str, list[Narrow]] = {}
    times = times if asks_time or not asks_flash else None
    for narrow in found:
        together.setdefault(narrow.layer if times is None else sources[narrow.layer], []).append(narrow)
    saved = _saved(found, times)
    # a layer that saves no time of its own may still save flash; it comes after all that do
    worth = np.array([1.0, 1e-6 if asks_time and not asks_flash else 1.0])
    shares = {name: np.sum([saved[n.layer] for n in group], axis=0) for name, group in together.items()}
    counts = {name: float(share @ worth) >= _LEAST_SHARE for name, share in shares.items()}
    noise = noise_of([n for name, group in together.items() if counts[name] for n in group])
    least = _LEAST_NOISE * sum(max(n, 0.0) for n in noise.values()) / max(len(noise), 1)
    lost = {name: sum(max(noise.get(n.layer, 0.0), least) for n in g) for name, g in together.items()}
    prices = {
        name: float(rounded(lost[name] / max(float(shares[name] @ worth), 1e-12))) for name in lost if counts[name]
    }
    dear = max(prices.values(), default=1.0)
    choices = [
        Choice(tuple(g), lost[name], shares[name], prices[name])
        if counts[name]
        else _last(g, shares[name], worth, dear)
        for name, g in together.items()
    ]
    return sorted(choices, key=lambda c: c.price)


def _last(group: Sequence[Narrow], share: NDArray[np.float64], worth: NDArray[np.float64], dear: float) -> Choice:
    """Layers whose noise is not known: dearer than all others, and the dearer the less they save."""
    saves = float(share @ worth)
    price = float(rounded(dear * (2.0 + _LEAST_SHARE / max(saves, 1e-12))))
    return Choice(tuple(group), price * saves, share, price)


def _saved(found: Sequence[Narrow], times: Sequence[Mapping[str, float]] | None) -> dict[str, NDArray[np.float64]]:
    """Shares of time and flash, by layer name."""
    flash, time = _shares({n.layer: float(n.saved) for n in found}), dict.fromkeys((n.layer for n in found), 0.0)
    if times is not None:
        before, after = times
        time = _shares({n.layer: max(before.get(n.layer, 0.0) - after.get(n.layer, 0.0), 0.0) for n in found})
    return {name: np.array([time[name], flash[name]]) for name in flash}


def _shares(saved: Mapping[str, float]) -> dict[str, float]:
    whole = sum(saved.values())
    return {name: value / whole if whole > 0 else 0.0 for name, value in saved.items()}


def exchanged(choices: Sequence[Choice], needed: NDArray[np.float64]) -> list[Choice]:
    """Choices that together save what is needed, with little noise; all of them where that is not enough.

    The cheapest that are enough; then something is given back, alone or for something else, as long as that lowers the
    noise.

    Args:
        choices: cheapest first.
        needed: shares of time and flash that are to be saved.
    """
    noise, saved = np.array([c.noise for c in choices]), np.stack([c.saved for c in choices])
    whole = np.concatenate([np.zeros((1, 2)), np.cumsum(saved, axis=0)])
    enough = np.flatnonzero((whole >= needed - _ROUNDED).all(axis=1))
    chosen = np.arange(len(choices)) < (enough[0] if enough.size else len(choices))
    for _ in range(_EXCHANGES if enough.size else 0):
        best = min(_exchanges(chosen, noise, saved, needed - _ROUNDED), default=(0.0, -1, -1))
        if best[0] >= -SHARE * noise[chosen].sum():
            break
        chosen[best[1]] = False
        if best[2] >= 0:
            chosen[best[2]] = True
    return [choice for choice, taken in zip(choices, chosen, strict=True) if taken]


def _exchanges(
    chosen: NDArray[np.bool_], noise: NDArray[np.float64], saved: NDArray[np.float64], needed: NDArray[np.float64]
) -> Iterator[tuple[float, int, int]]:
    """The noise that each possible exchange adds, what it gives back, and what it takes instead (-1: nothing)."""
    room = saved[chosen].sum(axis=0) - needed
    others = np.flatnonzero(~chosen)
    for out in np.flatnonzero(chosen):
        if (room - saved[out] >= 0).all():
            yield -float(noise[out]), int(out), -1
        enough = others[(room - saved[out] + saved[others] >= 0).all(axis=1)]
        if enough.size:
            other = enough[np.argmin(noise[enough])]
            yield float(noise[other] - noise[out]), int(out), int(other)


def allowed_noise(noise: Sequence[float], lost: Sequence[float], most: float) -> float:
    """How much noise labels let a model have.

    A few labeled samples let any one model pass or fail by chance, and out of several the luckiest would be taken. What
    is lost grows with noise, so one line through all models says more than each; the more noise, the more answers
    change, and the less a model counts.

    Args:
        noise: of models from no layer to all, over the signal.
        lost: points of the metric that each loses.
        most: points that may be lost.
    """
    found, points = np.asarray(noise), np.asarray(lost)
    middle, mean = (np.average(values, weights=1 / found) for values in (found, points))
    slope = ((found - middle) / found * (points - mean)).sum() / max(((found - middle) ** 2 / found).sum(), _NOTHING)
    if slope <= 0:
        return math.inf if mean <= most else 0.0
    return float(middle + (most - mean) / slope)
