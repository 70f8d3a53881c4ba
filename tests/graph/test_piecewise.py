"""Piecewise polynomials against the functions that they stand for, evaluated at many points."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from n6convert.graph.patterns.piecewise import IDENTITY, Piecewise, constant, value_at

POINTS = np.concatenate([np.linspace(-9.0, 9.0, 181), [-3.0, 0.0, 1.0, 3.0, 6.0]])
Function = Callable[[np.ndarray], np.ndarray]


def at(found: Piecewise, x: float) -> float:
    """The value at a point: the piece that its breaks say."""
    piece = sum(bool(x > b.at or (b.right and x == b.at)) for b in found.breaks)
    return float(value_at(found.pieces[piece], np.asarray(x)))


def same(found: Piecewise | None, wanted: Function) -> None:
    assert found is not None
    np.testing.assert_allclose([at(found, x) for x in POINTS], wanted(POINTS), rtol=1e-12, atol=1e-12)


def above(limit: float, equal: bool = False) -> Piecewise:
    found = IDENTITY.above(constant(limit), equal)
    assert found is not None
    return found


def product(*factors: Piecewise | None) -> Piecewise:
    result = constant(1.0)
    for factor in factors:
        assert factor is not None
        joined = result * factor
        assert joined is not None
        result = joined
    return result


def test_relu_as_a_mask_times_x() -> None:
    found = product(IDENTITY, above(0.0))
    same(found, lambda x: np.maximum(x, 0))
    assert found.continuous(0) and not above(0.0).continuous(0)


def test_hard_swish_spelled_with_masks() -> None:
    """x * clip(x + 3, 0, 6) / 6 as where(x > 3, x, where(x > -3, x (x + 3) / 6, 0))."""
    inner = product(IDENTITY, IDENTITY + constant(3.0), constant(1 / 6))
    low, high = above(-3.0), above(3.0)
    middle = product(low, constant(1.0) - high)
    found = product(middle, inner) + product(high, IDENTITY)
    same(found, lambda x: x * np.clip(x + 3, 0, 6) / 6)
    assert found is not None and [float(b.at) for b in found.breaks] == [-3.0, 3.0]
    assert all(found.continuous(i) for i in range(2)) and len(found.pieces[1]) == 3


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("slope", [2.0, -0.5])
def test_the_break_itself_belongs_where_the_comparison_says(slope: float, equal: bool) -> None:
    line = product(IDENTITY, constant(slope)) + constant(1.0)
    assert line is not None
    found = line.above(constant(4.0), equal)
    same(found, lambda x: (slope * x + 1 >= 4 if equal else slope * x + 1 > 4).astype(float))
    assert found is not None and at(found, float(found.breaks[0].at)) == float(equal)


def test_masks_join_as_truths_do() -> None:
    pairs = itertools.product((above(-1.0), above(2.0, True)), (above(-1.0, True), above(2.0), above(5.0)))
    for a, b in pairs:
        for join, wanted in ((a * b, np.minimum), (a + b, np.add)):
            values = [[at(m, x) for x in POINTS] for m in (a, b)]
            if join is None:
                continue
            np.testing.assert_allclose([at(join, x) for x in POINTS], wanted(*values))


def test_a_point_with_a_value_of_its_own_is_no_function_that_is_known() -> None:
    """x >= 0 and not x > 0: one at zero alone. On a line that meets there, nothing is lost."""
    assert above(0.0, True) - above(0.0) is None
    same(product(IDENTITY, above(0.0, True)) - product(IDENTITY, above(0.0)), np.zeros_like)


def test_breaks_where_nothing_changes_go() -> None:
    found = product(above(1.0), constant(2.0)) + product(constant(1.0) - above(1.0), constant(2.0))  # type: ignore[operator]
    assert found is not None and not found.breaks
    same(found, lambda x: np.full_like(x, 2))


def test_degree_three_is_not_known() -> None:
    square = product(IDENTITY, IDENTITY)
    assert square * IDENTITY is None and IDENTITY * square is None
    same(square * constant(-2.0), lambda x: -2 * x**2)
    same(square * constant(0.0), np.zeros_like)


@pytest.mark.parametrize("limit", [constant(1.0), product(IDENTITY, constant(2.0)), product(IDENTITY, IDENTITY)])
def test_only_lines_cross_once(limit: Piecewise) -> None:
    """A constant is above nothing at one place; a parabola may be at two; a line against a line is at one."""
    gap = limit.above(IDENTITY, False)
    assert (gap is None) == (len(limit.pieces[0]) == 3)
    assert constant(2.0).above(constant(1.0), False) is None
    assert product(IDENTITY, above(0.0)).above(constant(1.0), False) is None, "has a break itself"


def test_breaks_by_channel_keep_their_order_or_are_refused() -> None:
    def mask(*limits: float) -> Piecewise:
        found = IDENTITY.above(constant(np.array(limits)), False)
        assert found is not None
        return found

    ordered = mask(0.0, 1.0) + mask(2.0, 3.0)
    assert ordered is not None and [b.at.tolist() for b in ordered.breaks] == [[0, 1], [2, 3]]
    assert mask(0.0, 3.0) + mask(2.0, 1.0) is None, "the first channel has another order than the second"
    slopes = constant(np.array([1.0, -1.0]))
    assert (IDENTITY * slopes).above(constant(0.0), False) is None, "one channel rises, one falls"  # type: ignore[union-attr]


@pytest.mark.parametrize("coefficients", [(), (3.0,), (1.0, -2.0), (0.5, 0.0, 4.0), (1.0, 1.0, 1.0, 1.0)])
def test_polynomials_have_the_value_of_numpys(coefficients: tuple[float, ...]) -> None:
    wanted = np.polyval(coefficients[::-1], POINTS) if coefficients else np.zeros_like(POINTS)
    found = value_at(tuple(np.asarray(c) for c in coefficients), POINTS)
    np.testing.assert_allclose(np.broadcast_to(found, POINTS.shape), wanted)


def test_sums_of_random_ramps() -> None:
    random = np.random.default_rng(5)
    for _ in range(20):
        limits, weights = random.integers(-4, 4, 4), random.standard_normal(4)
        found: Piecewise | None = constant(0.0)
        for limit, weight in zip(limits, weights, strict=True):
            ramp = product(IDENTITY - constant(float(limit)), above(float(limit)), constant(weight))  # type: ignore[arg-type]
            found = None if found is None else found + ramp
        same(found, lambda x, at=limits, w=weights: sum(b * np.maximum(x - a, 0) for a, b in zip(at, w, strict=True)))  # type: ignore[misc]
