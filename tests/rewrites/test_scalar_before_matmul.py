from __future__ import annotations

from .graphs import GraphWriter
from .helpers import apply, ops


def test_a_scalar_moves_in_front_of_a_product() -> None:
    g = GraphWriter()
    product = g.node("MatMul", g.linear(g.input("a", [1, 6, 8]), 8, 8), g.input("b", [1, 8, 5]))
    model = g.model(g.node("Div", product, g.constant(3.0)))
    assert not ops(apply(model, "linear-to-conv").model).keys() & {"Div", "Mul"}
