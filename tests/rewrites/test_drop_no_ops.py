from __future__ import annotations

import numpy as np

from .graphs import GraphWriter
from .helpers import apply, ops


def test_nodes_that_give_back_their_input_go() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4])
    y = g.node("Relu", x)
    y = g.node("Identity", g.node("Dropout", g.node("Cast", y, to=1)))
    y = g.node("Add", g.node("Mul", y, g.constant(1.0)), g.constant(np.zeros((1, 6, 1))))
    y = g.node("Div", g.node("Sub", g.node("Concat", y, axis=1), g.constant(0.0)), g.constant(1.0))
    y = g.node("Slice", y, g.constant([0], "int64"), g.constant([9999], "int64"), g.constant([1], "int64"))
    y = g.node("Expand", g.node("Transpose", y, perm=[0, 1, 2]), g.constant([1, 6, 4], "int64"))
    assert ops(apply(g.model(g.node("Exp", y))).model) == {"Relu": 1, "Exp": 1}


def test_a_broadcast_by_one_is_not_nothing() -> None:
    g = GraphWriter()
    model = g.model(g.node("Mul", g.input("x", [1, 1, 4]), g.constant(np.ones((1, 6, 1)))))
    assert ops(apply(model).model)["Mul"] == 1


def test_an_input_may_be_an_output() -> None:
    g = GraphWriter()
    model = g.model(g.node("Identity", g.input("x", [1, 6])))
    assert [v.name for v in apply(model).model.graph.outputs] == [v.name for v in model.graph.outputs]
