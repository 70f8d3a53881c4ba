from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


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


@pytest.mark.parametrize("form", ["Relu", "Mul", "Softmax"])
def test_the_layout_comes_last(form: str) -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 3, 4, 5]), perm=[0, 2, 1, 3])
    y = g.node(form, turned, *([g.constant(g.random.random((4, 1, 5)))] if form == "Mul" else []))
    run = alone(g.model(y), "sink-layout")
    assert [n.op_type for n in run.model.graph] == [form, "Transpose"]


@pytest.mark.parametrize("form", ["moved softmax", "conv"])
def test_layouts_that_are_needed_as_they_are_stay(form: str) -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 3, 4, 5]), perm=[0, 1, 3, 2])
    softmax = form == "moved softmax"
    y = g.node("Softmax", turned, axis=3) if softmax else g.node("Relu", turned)
    readers = [] if softmax else [g.node("Conv", turned, g.weight(2, 3, 1, 1))]
    assert not stays(g.model(y, *readers), "sink-layout")


@pytest.mark.parametrize("other", [[4, 1, 5], [1], [], [1, 4, 3, 5]], ids=str)
def test_operands_of_every_size_move_along(other: list[int]) -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 3, 4, 5]), perm=[0, 2, 1, 3])
    run = alone(g.model(g.node("Add", turned, g.constant(g.random.random(other)))), "sink-layout")
    assert [n.op_type for n in run.model.graph] == ["Add", "Transpose"]


def test_a_computed_operand_moves_along() -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 3, 4, 5]), perm=[0, 2, 1, 3])
    run = alone(g.model(g.node("Mul", turned, g.input("factor", [4, 1, 1]))), "sink-layout")
    assert len(run.applied) == 1 and next(n for n in run.model.graph if n.op_type == "Mul").outputs[0].shape == (
        1,
        3,
        4,
        5,
    )


@pytest.mark.parametrize("form", ["axis", "joined"])
def test_a_softmax_over_what_the_layout_changes_stays(form: str) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 3, 4, 5])
    moved = g.node("Transpose", x, perm=[0, 2, 1, 3]) if form == "axis" else g.reshape(x, [1, 3, 20])
    assert not stays(g.model(g.node("Softmax", moved, axis=1 if form == "axis" else -1)), "sink-layout")
