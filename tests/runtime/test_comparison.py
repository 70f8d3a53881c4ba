"""Measures of closeness: bounded, finite, and about the right unit."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.runtime import comparison
from n6convert.runtime.comparison import LIMIT_DB, Noise, least_sizes, max_relative_difference


@pytest.mark.parametrize(
    ("body", "bounded"),
    [
        ("{ s = Sigmoid (x) t = Softmax (x) y = Concat <axis = 1> (s, t) }", True),
        ("{ s = Tanh (x) y = Transpose <perm = [1, 0]> (s) }", True),
        ("{ s = Sigmoid (x) y = Concat <axis = 1> (s, x) }", False),
        ("{ s = Sigmoid (x) y = Mul (s, x) }", False),
    ],
)
def test_differences_of_bounded_outputs_are_measured_by_an_int8_step_at_least(body: str, bounded: bool) -> None:
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[2,64] x) => (float y) '
    least = least_sizes(ir.from_onnx_text(head + body))
    assert least == ({"y": 1 / 256} if bounded else {})
    nothing, rounding = np.zeros(4, np.float32), np.full(4, 6e-8, np.float32)
    assert (max_relative_difference(nothing, rounding, least.get("y", 1e-12)) < 1e-4) == bounded


HUGE, INF, NAN = 1e200, np.inf, np.nan


@pytest.mark.parametrize(
    ("reference", "other", "db"),
    [
        ([0, 0], [0, 0], INF),
        ([0, 0], [1, 0], -LIMIT_DB),  # noise without a signal
        ([1, 2], [INF, 2], -LIMIT_DB),
        ([1, 2], [NAN, 2], -LIMIT_DB),
        ([INF, 2], [INF, 2], INF),  # a mask's infinities are no difference
        ([NAN, -INF, 3], [NAN, -INF, 3.3], 20.0),
        ([INF, 2], [5, 2], -LIMIT_DB),
        ([HUGE, 1], [HUGE, 2], LIMIT_DB),  # energies that overflow, one way and the other
        ([1, 1], [HUGE, 1], -LIMIT_DB),
        ([10, 0], [9, 0], 20.0),
        ([], [], INF),
    ],
)
def test_no_pair_of_arrays_breaks_a_measure(reference: list[float], other: list[float], db: float) -> None:
    a, b = np.array(reference, np.float64), np.array(other, np.float64)
    assert comparison.sqnr_db(a, b) == pytest.approx(db)
    noise = Noise()
    noise.add(a, b)
    assert noise.sqnr_db == (None if db == INF else pytest.approx(db))


@pytest.mark.parametrize("signal", [0.0, 5e-324, 1.0, 1e308, INF, NAN])
@pytest.mark.parametrize("noise", [0.0, 5e-324, 1.0, 1e308, INF, NAN])
def test_every_ratio_is_a_bounded_number(signal: float, noise: float) -> None:
    found = comparison.decibel(signal, noise)
    assert found == INF if noise == 0 else abs(found) <= LIMIT_DB
