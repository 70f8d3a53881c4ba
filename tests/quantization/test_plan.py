"""Weight scales: no row is worse than with the plain scale, and rows that had a grid are exact."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization.grid.from_ranges import make_plan
from n6convert.quantization.grid.plan import fit_weight, quantize_weight
from n6convert.quantization.prepare.prepare import prepare

from .nets import parse


def errors(weight: np.ndarray, found: np.ndarray) -> np.ndarray:
    return np.square(weight - found).reshape(weight.shape[0], -1).sum(1)


@pytest.mark.parametrize("largest", [127, 126, 100, 90, 30])
def test_weights_that_had_a_grid_are_exact(largest: int) -> None:
    rng = np.random.default_rng(largest)
    codes = rng.integers(-largest, largest + 1, (5, 40))
    codes[:, 0] = largest
    weight = (codes * rng.uniform(0.001, 1, (5, 1))).astype(np.float32)
    assert np.allclose(fit_weight(weight, 0).values(), weight, rtol=1e-5, atol=0)


def test_a_resizing_kernel_is_exact() -> None:
    weight = np.array([[0.25, 0.75], [0.75, 0.25]], np.float32)[:, :, None, None]
    assert not np.array_equal(quantize_weight(weight, 0).values(), weight)
    assert np.array_equal(fit_weight(weight, 0).values(), weight)


@pytest.mark.parametrize("shape", [(6, 3, 3, 3), (4, 1, 3, 3), (8, 2000), (3, 0), (1, 1)])
def test_no_row_is_worse_than_with_the_plain_scale(shape: tuple[int, ...]) -> None:
    weight = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    fitted, plain = fit_weight(weight, 0), quantize_weight(weight, 0)
    assert (errors(weight, fitted.values()) <= errors(weight, plain.values()) * (1 + 1e-5)).all()
    assert np.abs(fitted.codes.astype(int)).max(initial=0) <= 127


def test_rows_of_zeros_and_scales_that_a_bias_asks_for_are_kept() -> None:
    weight = np.zeros((3, 4), np.float32)
    weight[1] = [1, -0.5, 0.25, 0]
    least = np.array([0.5, 0.5, 0.0], np.float32)
    found = fit_weight(weight, 0, least)
    assert (found.scales[:2] >= least[:2]).all() and not found.codes[[0, 2]].any()


def test_abs_reads_a_grid_with_zero_point_0() -> None:
    """Any other zero point makes it a float operator of the CPU."""
    model = prepare(parse("net (float[1,4] x) => (float[1,4] y) { s = Add(x, x)\n a = Abs(s)\n y = Add(a, a) }"))
    ranges = {"x": (-1.0, 3.0), "s": (-2.0, 6.0), "a": (0.0, 6.0), "y": (0.0, 12.0)}
    plan = make_plan(model.graph, ranges)
    assert plan.grids["s"].zero_point == 0 and plan.grids["s"].high == pytest.approx(6.0, rel=0.01)
    assert plan.grids["x"].zero_point != 0
