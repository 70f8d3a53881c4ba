from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


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


@pytest.mark.parametrize("groups", [1, 3])
def test_scale_and_shift_by_themselves(groups: int) -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 3, 4, 4]), g.weight(6, 3 // groups, 3, 3), group=groups)
    y = g.node("Sub", g.constant(g.random.random((6, 1, 1))), g.node("Mul", y, g.constant(g.random.random((6, 1, 1)))))
    assert ops(alone(g.model(y), "fold-into-conv").model) == {"Conv": 1}


@pytest.mark.parametrize("form", ["columns", "whole map", "divided", "by next to nothing", "weights", "bias", "output"])
def test_what_is_not_per_channel_or_not_constant_stays(form: str) -> None:
    g = GraphWriter()
    weight = g.input("w", [6, 3, 1, 1]) if form == "weights" else g.weight(6, 3, 1, 1)
    bias = g.input("b", [6]) if form == "bias" else g.vector(6, 5.0)
    y = g.node("Conv", g.input("x", [1, 3, 4, 4]), weight, bias)
    factor = g.constant(1 + g.random.random({"columns": (4,), "whole map": (6, 4, 4)}.get(form, (6, 1, 1))))
    if form == "by next to nothing":
        factor = g.constant(np.full((6, 1, 1), 1e-40))
    scaled = g.node("Div", factor, y) if form == "divided" else g.node("Div" if form[:2] == "by" else "Mul", y, factor)
    scaled = g.node("Clip", scaled, g.constant(-9.0), g.constant(9.0))
    assert not stays(g.model(scaled, *([y] if form == "output" else [])), "fold-into-conv")
