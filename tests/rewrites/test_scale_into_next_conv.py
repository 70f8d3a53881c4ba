from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


@pytest.mark.parametrize("pads", [0, 1])
def test_scales_in_front_of_a_conv(pads: int) -> None:
    g = GraphWriter()
    x = g.node("Mul", g.input("x", [1, 3, 4, 4]), g.constant(g.random.random((3, 1, 1))))
    x = g.node("Add", x, g.constant(g.random.random((3, 1, 1))))
    model = g.model(g.node("Conv", x, g.weight(6, 3, 3, 3), pads=[pads] * 4))
    found = ops(apply(model, "scale-into-next-conv").model)
    assert (found["Mul"], found["Add"]) == ((0, 0) if pads == 0 else (1, 1))


def test_two_convolutions_take_the_scale_in() -> None:
    g = GraphWriter()
    x = g.node("Mul", g.input("x", [1, 3, 4, 4]), g.constant(g.random.random((3, 1, 1))))
    model = g.model(g.node("Conv", x, g.weight(6, 3, 1, 1)), g.node("Conv", x, g.weight(2, 3, 3, 3), pads=[1] * 4))
    run = alone(model, "scale-into-next-conv")
    assert len(run.applied) == 2 and ops(run.model) == {"Conv": 2}


@pytest.mark.parametrize("form", ["shift and pads", "same", "groups", "reader", "output", "repeated", "weights"])
def test_other_places_stay(form: str) -> None:
    g = GraphWriter()
    inputs = g.input("x", [1, 1 if form == "repeated" else 3, 4, 4])
    shifts = form in ("shift and pads", "same")
    x = g.node("Add" if shifts else "Mul", inputs, g.constant(1 + g.random.random((3, 1, 1))))
    group = 3 if form == "groups" else 1
    weight = g.input("w", [6, 3, 3, 3]) if form == "weights" else g.weight(6, 3 // group, 3, 3)
    around = {"auto_pad": "SAME_UPPER"} if form == "same" else {"pads": [0, 0, 0, 1] if shifts else [0] * 4}
    y = g.node("Conv", x, weight, group=group, **around)
    others = {"reader": lambda: [g.node("Exp", x)], "output": lambda: [x]}.get(form, list)()
    assert not stays(g.model(y, *others), "scale-into-next-conv")


def test_a_computed_bias_stays() -> None:
    g = GraphWriter()
    x = g.node("Mul", g.input("x", [1, 3, 4, 4]), g.constant(1 + g.random.random((3, 1, 1))))
    model = g.model(g.node("Conv", x, g.weight(6, 3, 1, 1), g.input("b", [6])))
    assert not stays(model, "scale-into-next-conv")
