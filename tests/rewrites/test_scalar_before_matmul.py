from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


def test_a_scalar_moves_in_front_of_a_product() -> None:
    g = GraphWriter()
    product = g.node("MatMul", g.linear(g.input("a", [1, 6, 8]), 8, 8), g.input("b", [1, 8, 5]))
    model = g.model(g.node("Div", product, g.constant(3.0)))
    assert not ops(apply(model, "linear-to-conv").model).keys() & {"Div", "Mul"}


def product(g: GraphWriter) -> str:
    return str(g.node("MatMul", g.input("a", [1, 6, 8]), g.input("b", [1, 8, 5])))


@pytest.mark.parametrize("form", ["Mul", "Div", "number first", "of one element"])
def test_a_scalar_by_itself(form: str) -> None:
    g = GraphWriter()
    y, number = product(g), g.constant([[3.0]] if form == "of one element" else 3.0)
    y = g.node("Mul", number, y) if form == "number first" else g.node("Div" if form == "Div" else "Mul", y, number)
    run = alone(g.model(y), "scalar-before-matmul")
    assert [n.op_type for n in run.model.graph] == ["Mul", "MatMul"]


@pytest.mark.parametrize(
    "form", ["a row", "divided", "by zero", "by next to nothing", "reader", "output", "weights", "more axes"]
)
def test_other_factors_stay(form: str) -> None:
    g = GraphWriter()
    y = g.node("MatMul", g.input("a", [1, 6, 8]), g.weight(8, 5)) if form == "weights" else product(g)
    values = {
        "a row": np.arange(5),
        "more axes": np.full((1, 1, 1, 1), 3.0),
        "by zero": 0.0,
        "by next to nothing": 1e-40,
    }
    number = g.constant(values.get(form, 3.0))
    scaled = g.node("Div", number, y) if form == "divided" else g.node("Div" if form[:2] == "by" else "Mul", y, number)
    scaled = g.node("Clip", scaled, g.constant(-9.0), g.constant(9.0)) if form[:2] == "by" else scaled
    more = {"reader": lambda: [g.node("Exp", y)], "output": lambda: [y]}.get(form, list)()
    assert not stays(g.model(scaled, *more), "scalar-before-matmul")
