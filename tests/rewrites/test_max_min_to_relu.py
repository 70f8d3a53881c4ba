from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


@pytest.mark.parametrize("op", ["Max", "Min"])
@pytest.mark.parametrize("other", [[1, 4, 6, 6], [1, 4, 1, 1], [4, 1, 1]])
def test_two_activations(op: str, other: list[int]) -> None:
    g = GraphWriter()
    model = g.model(g.node(op, g.input("a", other), g.input("b", [1, 4, 6, 6])))
    result = apply(model, "max-min-to-relu")
    assert ops(result.model)["Relu"] == 1 and op not in ops(result.model)
    assert software(model, OLD) and not software(result.model, OLD) and not software(result.model, NEW)


def test_two_numbers_are_one_clip() -> None:
    g = GraphWriter()
    low = g.node("Max", g.input("x", [1, 4, 6, 6]), g.constant(-0.5))
    result = apply(g.model(g.node("Min", low, g.constant(0.75))), "max-min-to-relu")
    assert ops(result.model) == {"Clip": 1}


def test_bounds_per_channel() -> None:
    g = GraphWriter()
    model = g.model(g.node("Max", g.constant([[0.1], [-0.2]]), g.input("x", [1, 2, 5])))
    assert "Max" not in ops(apply(model, "max-min-to-relu").model)


def test_both_repeated_stays() -> None:
    g = GraphWriter()
    model = g.model(g.node("Max", g.input("a", [1, 4, 1]), g.input("b", [1, 1, 5])))
    assert not apply(model, "max-min-to-relu").applied
