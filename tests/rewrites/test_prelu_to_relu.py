from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


@pytest.mark.parametrize("shape", [(6, 1, 1), (1,), (6, 4, 4)])
def test_prelu(shape: tuple[int, ...]) -> None:
    g = GraphWriter()
    model = g.model(g.node("PRelu", g.input("x", [1, 6, 4, 4]), g.constant(g.random.random(shape))))
    found = ops(apply(model, "prelu-to-relu").model)
    assert found["PRelu"] == 0
    assert found["LeakyRelu"] == (shape == (1,))


def test_a_computed_slope_stays() -> None:
    g = GraphWriter()
    model = g.model(g.node("PRelu", g.input("x", [1, 6, 4, 4]), g.node("Abs", g.input("slope", [6, 1, 1]))))
    assert not stays(model, "prelu-to-relu")


@pytest.mark.parametrize("slope", [np.linspace(-1, 2, 6).reshape(6, 1, 1), np.zeros((6, 1, 1)), np.array(0.2)])
def test_both_signs_of_slopes(slope: np.ndarray) -> None:
    g = GraphWriter()
    run = alone(g.model(g.node("PRelu", g.input("x", [1, 6, 4, 4]), g.constant(slope))), "prelu-to-relu")
    x = np.linspace(-3, 3, 96, dtype=np.float32).reshape(1, 6, 4, 4)
    (found,) = run_model(run.model, {"x": x}).values()
    np.testing.assert_allclose(found, np.where(x < 0, x * slope, x), rtol=1e-6, atol=1e-6)
