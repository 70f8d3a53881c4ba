from __future__ import annotations

from .graphs import GraphWriter
from .helpers import apply, ops


def test_activation_meets_its_convolution_again() -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 3, 4, 5]), g.weight(6, 3, 1, 1))
    y = g.node("Sigmoid", g.node("Mul", g.reshape(y, [1, 6, 20]), g.constant(g.random.random((1, 6, 1)))))
    names = [n.op_type for n in apply(g.model(y)).model.graph]
    assert names == ["Conv", "Sigmoid", "Reshape"]


def test_a_small_operand_moves_along() -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 6, 8]))
    turned = g.node("Transpose", x, perm=[0, 2, 1])
    scaled = g.node("Mul", turned, g.node("GlobalAveragePool", turned))
    y = g.node("Transpose", scaled, perm=[0, 2, 1])
    assert ops(apply(g.model(y)).model)["Transpose"] <= 2
