from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, alone, apply, ops, reasons, software, stays


def positive(sign: float = 1.0):
    g = GraphWriter()
    x = g.input("x", [1, 6, 4])
    b = g.node("Mul", g.node("Add", g.node("Abs", x), g.constant(0.5)), g.constant(sign))
    return g, x, b


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_divisions_become_products(sign: float, target: str) -> None:
    g, x, b = positive(sign)
    model = g.model(g.node("Div", x, b), g.node("Reciprocal", b), g.node("Div", g.constant(3.0), b))
    result = apply(model, "division-to-product", target=target)
    assert not ops(result.model).keys() & {"Div", "Reciprocal"}
    assert not software(result.model, target).keys() - {"Abs"}


def test_a_divisor_around_zero_is_refused() -> None:
    g = GraphWriter()
    model = g.model(g.node("Div", g.input("x", [1, 6, 4]), g.input("b", [1, 6, 4])))
    assert "has no range" in reasons(apply(model, "division-to-product"), "division-to-product")


@pytest.mark.parametrize("divisor", [[1, 6, 4], [1, 6, 1], [6, 1], [1]])
def test_a_divisor_that_repeats(divisor: list[int]) -> None:
    g = GraphWriter()
    b = g.node("Add", g.node("Abs", g.input("b", divisor)), g.constant(0.5))
    twos = g.constant(np.full((1, 6, 4), 2.0))
    run = alone(g.model(g.node("Div", g.input("x", [1, 6, 4]), b), g.node("Div", twos, b)), "division-to-product")
    assert len(run.applied) == 2 and "Div" not in ops(run.model)


def test_a_constant_divisor_is_for_another_rule() -> None:
    g = GraphWriter()
    assert not stays(g.model(g.node("Div", g.input("x", [1, 6, 4]), g.constant(3.0))), "division-to-product")
