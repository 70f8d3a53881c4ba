from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import OLD, apply, ops


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


def test_views_become_reshapes() -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 6, 1, 4]))
    y = g.node("Unsqueeze", g.node("Squeeze", x, g.constant([2], "int64")), g.constant([1], "int64"))
    y = g.node("Exp", g.reshape(g.node("Flatten", y), [0, -1]))
    assert set(ops(apply(g.model(y)).model)) == {"Relu", "Reshape", "Exp"}


def test_constants_merge_and_division_and_subtraction_vanish() -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 6, 4]))
    y = g.node("Mul", g.node("Div", x, g.constant(4.0)), g.constant(2.0))
    z = g.node("Sub", g.constant(g.random.random((1, 6, 1))), g.node("Sub", y, g.constant(1.0)))
    found = ops(apply(g.model(z)).model)
    assert not found.keys() & {"Div", "Sub"}
    assert found["Mul"] + found["Add"] <= 4


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


@pytest.mark.parametrize("pads", [0, 1])
def test_scales_in_front_of_a_conv(pads: int) -> None:
    g = GraphWriter()
    x = g.node("Mul", g.input("x", [1, 3, 4, 4]), g.constant(g.random.random((3, 1, 1))))
    x = g.node("Add", x, g.constant(g.random.random((3, 1, 1))))
    model = g.model(g.node("Conv", x, g.weight(6, 3, 3, 3), pads=[pads] * 4))
    found = ops(apply(model, "scale-into-next-conv").model)
    assert (found["Mul"], found["Add"]) == ((0, 0) if pads == 0 else (1, 1))


def test_a_scalar_moves_in_front_of_a_product() -> None:
    g = GraphWriter()
    product = g.node("MatMul", g.linear(g.input("a", [1, 6, 8]), 8, 8), g.input("b", [1, 8, 5]))
    model = g.model(g.node("Div", product, g.constant(3.0)))
    assert not ops(apply(model, "linear-to-conv").model).keys() & {"Div", "Mul"}


def test_an_unknown_batch_is_one() -> None:
    g = GraphWriter()
    model = g.model(g.node("Relu", g.linear(g.input("x", [1, 6, 8]), 8, 8)))
    for value in (*model.graph.inputs, *model.graph.outputs, *(v for n in model.graph for v in n.outputs)):
        value.shape = ir.Shape(["batch", *list(value.shape or [])[1:]])
    result = rewrite(model, None, RewriteConfig(), target=OLD, threads=1)
    assert [tuple(v.shape or ()) for v in (*result.model.graph.inputs, *result.model.graph.outputs)] == [(1, 6, 8)] * 2
