from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software


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
