from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


@pytest.mark.parametrize(
    "perms", [[(0, 2, 3, 1), (0, 3, 1, 2)], [(0, 2, 1, 3), (0, 2, 1, 3)], [(0, 3, 1, 2), (0, 3, 1, 2), (0, 3, 1, 2)]]
)
def test_transposes_that_undo_each_other_vanish(perms: list[tuple[int, ...]]) -> None:
    g = GraphWriter()
    y = g.node("Relu", g.input("x", [1, 3, 4, 5]))
    for perm in perms:
        y = g.node("Transpose", y, perm=list(perm))
    assert ops(apply(g.model(g.node("Exp", y))).model) == {"Relu": 1, "Exp": 1}


def test_a_chain_that_is_one_transpose() -> None:
    g = GraphWriter()
    y = g.node("Transpose", g.reshape(g.input("x", [1, 6, 4, 5]), [1, 6, 20]), perm=[0, 2, 1])
    y = g.node("Transpose", g.reshape(y, [1, 4, 5, 6]), perm=[0, 3, 1, 2])
    y = g.node("Transpose", y, perm=[0, 2, 3, 1])
    run = alone(g.model(y), "merge-layout")
    assert ops(run.model)["Transpose"] == 1 and run.applied


def test_a_single_change_of_layout_stays() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4, 5])
    model = g.model(g.node("Transpose", x, perm=[0, 2, 3, 1]), g.reshape(x, [1, 24, 5]))
    assert not stays(model, "merge-layout")


def test_what_lies_between_and_is_read_stays_for_its_readers() -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 3, 4, 5]), perm=[0, 2, 3, 1])
    run = alone(g.model(g.node("Transpose", turned, perm=[0, 3, 1, 2]), g.node("Exp", turned)), "merge-layout")
    assert ops(run.model)["Transpose"] == 1 and ops(run.model)["Exp"] == 1
