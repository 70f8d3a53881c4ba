from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


def test_constants_merge_and_division_and_subtraction_vanish() -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 6, 4]))
    y = g.node("Mul", g.node("Div", x, g.constant(4.0)), g.constant(2.0))
    z = g.node("Sub", g.constant(g.random.random((1, 6, 1))), g.node("Sub", y, g.constant(1.0)))
    found = ops(apply(g.model(z)).model)
    assert not found.keys() & {"Div", "Sub"}
    assert found["Mul"] + found["Add"] <= 4


@pytest.mark.parametrize(
    ("outer", "inner", "left"),
    [
        ("Mul", "Mul", {"Mul": 1}), ("Add", "Add", {"Add": 1}), ("Div", "Mul", {"Mul": 1}), ("Sub", "Add", {"Add": 1}),
        ("Mul", "Add", {"Mul": 1, "Add": 1}), ("Sub", "Div", {"Add": 1, "Mul": 1}),
    ],
)  # fmt: skip
def test_two_constants(outer: str, inner: str, left: dict[str, int]) -> None:
    g = GraphWriter()
    y = g.node(inner, g.input("x", [1, 6, 4]), g.constant(1 + g.random.random((6, 1))))
    model = g.model(g.node(outer, y, g.constant(1 + g.random.random(4))))
    assert ops(alone(model, "merge-constants").model) == left


def test_a_constant_minus_an_activation() -> None:
    g = GraphWriter()
    run = alone(g.model(g.node("Sub", g.constant([1.0, 2.0]), g.input("x", [3, 2]))), "merge-constants")
    (found,) = run_model(run.model, {"x": np.full((3, 2), 5, np.float32)}).values()
    np.testing.assert_array_equal(found, np.broadcast_to([-4, -3], (3, 2)))
    assert ops(run.model) == {"Mul": 1, "Add": 1}


@pytest.mark.parametrize("end", [True, False], ids=["output", "reader"])
def test_what_others_need_as_well_stays(end: bool) -> None:
    g = GraphWriter()
    y = g.node("Mul", g.input("x", [1, 6, 4]), g.constant(2.0))
    assert not stays(g.model(g.node("Mul", y, g.constant(3.0)), y if end else g.node("Exp", y)), "merge-constants")


def test_a_constant_that_repeats_the_tensor_stays() -> None:
    g = GraphWriter()
    y = g.node("Mul", g.input("x", [1, 1, 4]), g.constant(np.ones((1, 6, 1))))
    assert not stays(g.model(g.node("Mul", y, g.constant(3.0))), "merge-constants")


@pytest.mark.parametrize("divisor", [[2.0, 0.0], [2.0, 1e-40]], ids=["zero", "too small to invert"])
def test_a_division_without_a_finite_factor_stays(divisor: list[float]) -> None:
    g = GraphWriter()
    quotient = g.node("Div", g.input("x", [3, 2]), g.constant(divisor))
    assert not stays(g.model(g.node("Clip", quotient, g.constant(-9.0), g.constant(9.0))), "merge-constants")


def test_a_number_divided_and_whole_numbers_stay() -> None:
    g = GraphWriter()
    x = g.input("x", [3, 2])
    whole = g.node("Sub", g.node("Cast", x, to=7), g.constant(2, np.int64))
    assert not stays(g.model(g.node("Div", g.constant(1.0), x), g.node("Cast", whole, to=1)), "merge-constants")
