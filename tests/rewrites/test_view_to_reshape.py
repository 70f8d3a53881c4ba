from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


def test_views_become_reshapes() -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 6, 1, 4]))
    y = g.node("Unsqueeze", g.node("Squeeze", x, g.constant([2], "int64")), g.constant([1], "int64"))
    y = g.node("Exp", g.reshape(g.node("Flatten", y), [0, -1]))
    assert set(ops(apply(g.model(y)).model)) == {"Relu", "Reshape", "Exp"}


@pytest.mark.parametrize("to", [[0, -1], [1, -1], [-1, 6, 4]])
def test_wildcards_become_numbers(to: list[int]) -> None:
    g = GraphWriter()
    run = alone(g.model(g.reshape(g.input("x", [1, 6, 1, 4]), to)), "view-to-reshape")
    (node,) = run.model.graph
    assert run.applied and tuple(node.inputs[1].const_value.numpy()) == tuple(node.outputs[0].shape)


def test_a_shape_in_numbers_stays() -> None:
    g = GraphWriter()
    assert not stays(g.model(g.reshape(g.input("x", [1, 6, 1, 4]), [6, 4])), "view-to-reshape")


def test_nothing_has_no_shape_in_numbers() -> None:
    """A Reshape that reads 0 as "as before" would not give an axis of length 0."""
    g = GraphWriter()
    assert not stays(g.model(g.node("Flatten", g.input("x", [1, 0, 4]))), "view-to-reshape")
