"""Which layers get four bits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization.weights.four_bits import Narrow
from n6convert.quantization.weights.narrow_selection import Choice, candidates, exchanged

SIZES = {"tiny": 2, "small": 8, "large": 20_000, "middle": 2_000}


def choice(name: str, noise: float, time: float, flash: float) -> Choice:
    narrow = Narrow(name, np.zeros((2, 2), np.int8), np.ones(2, np.float32))
    return Choice((narrow,), noise, np.array([time, flash]), noise / (time + flash))


def random_choices(seed: int, count: int) -> list[Choice]:
    draw = np.random.default_rng(seed)
    time, flash, noise = draw.dirichlet(np.ones(count)), draw.dirichlet(np.ones(count)), draw.exponential(1, count)
    made = [choice(f"l{i}", *v) for i, v in enumerate(zip(noise, time, flash, strict=True))]
    return sorted(made, key=lambda c: c.price)


def noise_of(choices: list[Choice]) -> float:
    return sum(c.noise for c in choices)


def prefix(choices: list[Choice], needed: np.ndarray) -> list[Choice]:
    return next(
        choices[:n]
        for n in range(len(choices) + 1)
        if (sum((c.saved for c in choices[:n]), np.zeros(2)) >= needed).all()
    )


@pytest.mark.parametrize("needed", [(0.0, 0.6), (0.5, 0.0), (0.5, 0.6)])
def test_exchanges_come_near_the_best_there_is(needed: tuple[float, float]) -> None:
    wanted, ratios, first = np.array(needed), [], []
    for seed in range(12):
        choices = random_choices(seed, 10)
        found = exchanged(choices, wanted)
        assert (sum(c.saved for c in found) >= wanted - 1e-8).all()
        subsets = (s for n in range(11) for s in combinations(choices, n))
        least = min(noise_of(s) for s in subsets if (sum((c.saved for c in s), np.zeros(2)) >= wanted).all())
        ratios.append(noise_of(found) / least)
        first.append(noise_of(prefix(choices, wanted)) / least)
        assert ratios[-1] <= first[-1] + 1e-9
    assert np.mean(ratios) < 1.1 < np.mean(first)


def test_what_is_more_than_needed_is_given_back() -> None:
    cheap, dear, small = choice("a", 1.0, 0.0, 0.5), choice("b", 5.0, 0.0, 0.4), choice("c", 1.5, 0.0, 0.1)
    choices = sorted([cheap, dear, small], key=lambda c: c.price)
    assert [c.layers[0].layer for c in exchanged(choices, np.array([0.0, 0.55]))] == ["a", "c"]


def test_all_are_taken_where_that_is_not_enough_and_none_where_nothing_is_needed() -> None:
    choices = [choice("a", 1.0, 0.2, 0.2), choice("b", 1.0, 0.0, 0.1)]
    assert exchanged(choices, np.array([0.5, 0.0])) == choices
    assert exchanged(choices, np.zeros(2)) == []


def test_layers_that_save_next_to_nothing_are_not_measured_and_come_last() -> None:
    layers = [Narrow(name, np.zeros((n, 1), np.int8), np.ones(n, np.float32)) for name, n in SIZES.items()]
    asked: list[str] = []

    def noise_of(measured: Sequence[Narrow]) -> dict[str, float]:
        asked.extend(n.layer for n in measured)
        return {n.layer: {"large": 5.0, "middle": 0.1}[n.layer] for n in measured}

    model = ir.Model(ir.Graph([], [], nodes=[]), ir_version=8)
    found = candidates(model, layers, noise_of, None, asks_time=False, asks_flash=True)
    assert sorted(asked) == ["large", "middle"]
    assert [c.layers[0].layer for c in found] == ["middle", "large", "small", "tiny"]
