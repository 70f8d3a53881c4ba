"""Damping of four-bit codes by samples that they were not chosen on."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization.layerwise.narrow_rounding import _damping
from n6convert.quantization.layerwise.rounding import Portion
from n6convert.quantization.layerwise.second_order import DAMPING, round_rows
from n6convert.quantization.weights.four_bits import best_scales


def halves(samples: int, inputs: int) -> list[np.ndarray]:
    """Second moments of two sets of samples that are correlated alike."""
    draw = np.random.default_rng(1)
    mixing = draw.normal(0, 1, (inputs, inputs)) / np.sqrt(inputs) + np.eye(inputs)
    sets = (draw.normal(0, 1, (samples, inputs)) @ mixing for _ in range(2))
    return [rows.T @ rows for rows in sets]


@pytest.mark.parametrize(("samples", "more"), [(24, True), (20_000, False)])
def test_few_samples_ask_for_more_damping(samples: int, more: bool) -> None:
    first, second = halves(samples, 48)
    rows = np.random.default_rng(2).normal(0, 1, (40, 48)).astype(np.float32)
    scales, everything = best_scales(rows), slice(None)
    damping = _damping(Portion(rows, everything, everything, first), second, scales, None)
    assert (damping > DAMPING) == more

    def missed(chosen: float) -> float:
        gaps = rows - round_rows(rows, scales, first.copy(), None, 7, chosen) * scales[:, None]
        return float(np.einsum("ij,jk,ik->", gaps, second, gaps))

    assert missed(damping) <= missed(DAMPING)


def test_without_a_second_half_damping_is_moderate() -> None:
    rows = np.ones((4, 8), np.float32)
    part = Portion(rows, slice(None), slice(None), np.eye(8))
    assert DAMPING < _damping(part, np.zeros((8, 8)), best_scales(rows), None) < 1
