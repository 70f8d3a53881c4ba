from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import apply, ops


@pytest.mark.parametrize("pads", [0, 1])
def test_scales_in_front_of_a_conv(pads: int) -> None:
    g = GraphWriter()
    x = g.node("Mul", g.input("x", [1, 3, 4, 4]), g.constant(g.random.random((3, 1, 1))))
    x = g.node("Add", x, g.constant(g.random.random((3, 1, 1))))
    model = g.model(g.node("Conv", x, g.weight(6, 3, 3, 3), pads=[pads] * 4))
    found = ops(apply(model, "scale-into-next-conv").model)
    assert (found["Mul"], found["Add"]) == ((0, 0) if pads == 0 else (1, 1))
