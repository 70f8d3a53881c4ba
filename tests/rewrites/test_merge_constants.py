from __future__ import annotations

from .graphs import GraphWriter
from .helpers import apply, ops


def test_constants_merge_and_division_and_subtraction_vanish() -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 6, 4]))
    y = g.node("Mul", g.node("Div", x, g.constant(4.0)), g.constant(2.0))
    z = g.node("Sub", g.constant(g.random.random((1, 6, 1))), g.node("Sub", y, g.constant(1.0)))
    found = ops(apply(g.model(z)).model)
    assert not found.keys() & {"Div", "Sub"}
    assert found["Mul"] + found["Add"] <= 4
