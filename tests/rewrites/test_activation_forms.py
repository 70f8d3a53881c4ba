from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import apply, ops


def clipped(g: GraphWriter, x: str) -> str:
    return g.node("Clip", g.node("Add", x, g.constant(3.0)), g.constant(0.0), g.constant(6.0))


@pytest.mark.parametrize("opset", [13, 17])
@pytest.mark.parametrize("order", ["gate first", "product first"])
def test_hard_swish(order: str, opset: int) -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 6, 8]))
    if order == "gate first":
        y = g.node("Mul", x, g.node("Div", clipped(g, x), g.constant(6.0)))
    else:
        y = g.node("Mul", g.node("Mul", clipped(g, x), x), g.constant(1 / 6))
    found = ops(apply(g.model(y, opset=opset), "activation-forms").model)
    assert found == ({"Relu": 1, "HardSwish": 1} if opset > 13 else {"Relu": 1, "HardSigmoid": 1, "Mul": 1})


def test_silu() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 8])
    y = g.node("Div", x, g.node("Add", g.node("Exp", g.node("Neg", x)), g.constant(1.0)))
    assert ops(apply(g.model(y), "activation-forms").model) == {"Sigmoid": 1, "Mul": 1}


@pytest.mark.parametrize("divisor", [5.0, 6.0])
def test_only_the_right_factor(divisor: float) -> None:
    g = GraphWriter()
    model = g.model(g.node("Div", clipped(g, g.input("x", [1, 6])), g.constant(divisor)))
    assert ops(apply(model, "activation-forms").model)["HardSigmoid"] == (divisor == 6.0)
