"""Second-order rounding of one matrix: against a naive reference, against nearest rounding, and against the clock."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization.layerwise import second_order
from n6convert.quantization.layerwise.second_order import round_groups, round_rows
from n6convert.quantization.time_budget import BudgetExceeded, TimeBudget


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def weights(seed: int, *shape: int) -> np.ndarray:
    return (rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def correlated(size: int, rank: int, seed: int = 1) -> np.ndarray:
    values = rng(seed).standard_normal((2000, rank)) @ rng(seed + 1).standard_normal((rank, size))
    return values + 0.1 * rng(seed + 2).standard_normal((2000, size))


def test_second_order_rounding_beats_nearest_on_correlated_inputs() -> None:
    inputs = rng(1).standard_normal((2000, 4)) @ rng(2).standard_normal((4, 32)) + 0.05 * rng(3).standard_normal(
        (2000, 32)
    )
    rows = weights(4, 16, 32)
    scales = (np.abs(rows).max(axis=1) / 15).astype(np.float32)
    moments = inputs.T @ inputs
    codes = round_rows(rows, scales, moments)
    nearest = np.rint(rows / scales[:, None])

    def error(chosen: np.ndarray) -> float:
        return float(np.sum((inputs @ (chosen * scales[:, None] - rows).T) ** 2))

    assert error(codes) < 0.3 * error(nearest)


def test_rounding_never_loses_to_nearest_in_a_channel() -> None:
    inputs = rng(5).standard_normal((500, 16))
    rows = weights(6, 8, 16)
    scales = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    codes, nearest = round_rows(rows, scales, inputs.T @ inputs), np.rint(rows / scales[:, None])
    errors = [np.sum((inputs @ (c * scales[:, None] - rows).T) ** 2, axis=0) for c in (codes, nearest)]
    assert (errors[0] <= errors[1] * 1.02).all()  # the damping of the moments may cost a little


@pytest.mark.parametrize("largest", [7, 127])
def test_groups_get_the_codes_that_each_gets_alone(largest: int) -> None:
    groups, outputs, size = 12, 3, 9
    moments = np.stack([x.T @ x for x in (np.rint(20 * correlated(size, 4, seed)) for seed in range(groups))])
    rows = weights(4, groups * outputs, size)
    scales = (np.abs(rows).max(axis=1) / largest).astype(np.float32)
    alone = [
        round_rows(r, s, m.copy(), limits=(-largest, largest))
        for r, s, m in zip(np.split(rows, groups), np.split(scales, groups), moments, strict=True)
    ]
    together = round_groups(rows, scales, moments, limits=(-largest, largest))
    assert together is not None
    assert np.array_equal(together, np.concatenate(alone))
    assert not np.array_equal(together, np.rint(rows / scales[:, None]))


@pytest.mark.parametrize("turns", [0, 8])
def test_settling_finds_no_worse_codes(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = rng(1).standard_normal((2000, 12)) @ rng(2).standard_normal((12, 48))
    inputs += 0.1 * rng(3).standard_normal((2000, 48))
    rows = weights(4, 16, 48)
    scales = (np.abs(rows).max(axis=1) / 15).astype(np.float32)
    moments = inputs.T @ inputs
    settled = round_rows(rows, scales, moments)
    monkeypatch.setattr(second_order, "_TURNS", turns)
    codes = round_rows(rows, scales, moments)
    errors = [np.sum((inputs @ (c * scales[:, None] - rows).T) ** 2) for c in (settled, codes)]
    assert errors[0] <= errors[1] and (turns or errors[0] < 0.98 * errors[1])
    np.testing.assert_array_equal(settled, round_rows(rows, scales, moments)) if turns else None


def naive(rows: np.ndarray, scales: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """GPTQ as published: by the inverse of the moments, column after column, then each weight in turn; in float64."""
    target, size = rows.astype(np.float64) / scales[:, None], len(moments)
    damped = moments + np.eye(size) * 0.01 * np.trace(moments) / size
    order = np.argsort(-np.diag(moments), kind="stable")
    inverse = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    left, codes = target[:, order].copy(), np.empty_like(target)
    for i, place in enumerate(order):
        codes[:, place] = np.clip(np.rint(left[:, i]), -127, 127)
        left[:, i:] -= np.outer((left[:, i] - codes[:, place]) / inverse[i, i], inverse[i, i:])
    for _ in range(8):
        for i in order:
            pull = (target - codes) @ damped[:, i]
            codes[:, i] = np.clip(codes[:, i] + np.rint(pull / damped[i, i]), -127, 127)
    return codes


@pytest.mark.parametrize(("outputs", "inputs"), [(5, 9), (16, 70), (12, 200)])
def test_the_codes_are_those_of_the_published_algorithm(outputs: int, inputs: int) -> None:
    """Equal but for ties, which rounding in float32 decides otherwise now and then; so the error is what must agree."""
    rows, x = weights(3, outputs, inputs), correlated(inputs, max(inputs // 4, 2))
    scales = (np.abs(rows).max(axis=1) / 31).astype(np.float32)
    moments = x.T @ x
    ours, theirs = round_rows(rows, scales, moments), naive(rows, scales, moments)
    nearest = np.rint(rows / scales[:, None])
    errors = [np.sum((x @ (c * scales[:, None] - rows).T) ** 2) for c in (ours, theirs, nearest)]
    assert np.mean(ours == theirs) > 0.97
    assert errors[0] < 1.02 * errors[1] < 0.6 * errors[2]


def test_outputs_in_portions_are_rounded_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, x = weights(3, 100, 40), correlated(40, 8)
    scales = (np.abs(rows).max(axis=1) / 31).astype(np.float32)
    together = round_rows(rows, scales, x.T @ x)
    monkeypatch.setattr(second_order, "_PRODUCT", 1)
    assert np.mean(together == round_rows(rows, scales, x.T @ x)) > 0.99


def test_the_moments_are_left_as_they_are_and_inputs_that_never_speak_do_no_harm() -> None:
    rows = weights(3, 4, 8)
    scales = (np.abs(rows).max(axis=1) / 127).astype(np.float32)
    x = correlated(8, 3)
    x[:, 5] = 0
    moments = x.T @ x
    kept = moments.copy()
    assert np.abs(round_rows(rows, scales, moments)).max() <= 127
    np.testing.assert_array_equal(moments, kept)
    nearest = np.rint(rows / scales[:, None])
    np.testing.assert_array_equal(round_rows(rows, scales, np.zeros((8, 8))), nearest)


class Ticking(TimeBudget):
    """Ends at the given look at it."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    @property
    def ended(self) -> bool:
        self.looks -= 1
        return self.looks < 0


@pytest.mark.parametrize("looks", [0, 1, 3])
def test_the_clock_ends_it_between_portions_and_turns(looks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_order, "_PRODUCT", 1)
    rows, x = weights(3, 100, 40), correlated(40, 8)
    scales = (np.abs(rows).max(axis=1) / 31).astype(np.float32)
    with pytest.raises(BudgetExceeded):
        round_rows(rows, scales, x.T @ x, Ticking(looks))
    round_rows(rows, scales, x.T @ x, Ticking(10_000))
