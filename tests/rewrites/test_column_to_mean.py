from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import alone, ops, stays


@pytest.mark.parametrize("full", [[1, 2, 12, 8], [5, 8], [1, 8]])
@pytest.mark.parametrize("value", [1.0, 0.25, 0.0])
def test_a_column_of_one_number(full: list[int], value: float) -> None:
    g = GraphWriter()
    run = alone(g.model(g.node("MatMul", g.input("x", full), g.constant(np.full((8, 1), value)))), "column-to-mean")
    assert "MatMul" not in ops(run.model)
    x = np.random.default_rng(0).standard_normal(full).astype(np.float32)
    (found,) = run_model(run.model, {"x": x}).values()
    np.testing.assert_allclose(found, value * x.sum(axis=-1, keepdims=True), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["unlike numbers", "two columns", "computed", "a vector", "repeated"])
def test_other_products_stay(form: str) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 12, 8])
    shapes = {"two columns": (8, 2), "a vector": (8,), "repeated": (3, 8, 1)}
    ones = np.ones(shapes.get(form, (8, 1)))
    if form == "unlike numbers":
        ones[-1] = 2
    column = g.input("column", [8, 1]) if form == "computed" else g.constant(ones)
    assert not stays(g.model(g.node("MatMul", x, column)), "column-to-mean")
