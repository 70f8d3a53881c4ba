from __future__ import annotations

import numpy as np

from .graphs import GraphWriter
from .helpers import apply, ops


def test_factors_go_into_the_neighbors() -> None:
    g = GraphWriter()
    x = g.gelu(g.linear(g.input("x", [1, 6, 8]), 8, 12))
    model = g.model(g.linear(x, 12, 8))
    found = ops(apply(model, "gelu-normal-form", "linear-to-conv", "scale-into-next-conv").model)
    assert (found["Erf"], found["Mul"], found["Add"], found["Div"]) == (1, 1, 1, 0)


def test_half_in_another_place() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 8])
    erf = g.node("Erf", g.node("Mul", x, g.constant(np.sqrt(0.5))))
    half = g.node("Mul", x, g.constant(0.5))
    model = g.model(g.node("Mul", half, g.node("Add", erf, g.constant(1.0))))
    assert any(a.rule == "gelu-normal-form" for a in apply(model, "gelu-normal-form").applied)


def test_operator_and_its_tanh_form() -> None:
    for form in ("none", "tanh"):
        g = GraphWriter()
        model = g.model(g.node("Gelu", g.input("x", [1, 6, 8]), approximate=form), opset=20)
        assert "Gelu" not in ops(apply(model, "gelu-normal-form").model)


def test_another_factor_is_no_gelu() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 8])
    erf = g.node("Erf", g.node("Div", x, g.constant(np.sqrt(2.0))))
    model = g.model(g.node("Mul", g.node("Mul", x, g.node("Add", erf, g.constant(1.0))), g.constant(0.7)))
    assert not any(a.rule == "gelu-normal-form" for a in apply(model, "gelu-normal-form").applied)
