from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import apply, ops


@pytest.mark.parametrize("op", ["Mul", "Add", "Sub", "Div"])
def test_per_channel_constants_fold_into_the_conv(op: str) -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 3, 4, 4]), g.weight(6, 3, 3, 3), g.vector(6))
    y = g.node(op, y, g.constant(1 + g.random.random((6, 1, 1))))
    assert ops(apply(g.model(g.node("Relu", y))).model) == {"Conv": 1, "Relu": 1}


def test_constant_minus_conv_folds() -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 3, 4, 4]), g.weight(6, 3, 1, 1))
    assert ops(apply(g.model(g.node("Sub", g.constant(1.0), y))).model) == {"Conv": 1}


def test_a_conv_with_two_readers_keeps_its_weights() -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 3, 4, 4]), g.weight(6, 3, 1, 1))
    model = g.model(g.node("Mul", y, g.constant(2.0)), g.node("Relu", y))
    assert ops(apply(model).model) == {"Conv": 1, "Mul": 1, "Relu": 1}


def test_batch_normalization_folds() -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 3, 4, 4]), g.weight(6, 3, 1, 1))
    parameters = [g.vector(6, 1.0), g.vector(6), g.vector(6), g.vector(6, 1.0)]
    assert ops(apply(g.model(g.node("BatchNormalization", y, *parameters))).model) == {"Conv": 1}
