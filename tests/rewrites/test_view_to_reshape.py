from __future__ import annotations

from .graphs import GraphWriter
from .helpers import apply, ops


def test_views_become_reshapes() -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 6, 1, 4]))
    y = g.node("Unsqueeze", g.node("Squeeze", x, g.constant([2], "int64")), g.constant([1], "int64"))
    y = g.node("Exp", g.reshape(g.node("Flatten", y), [0, -1]))
    assert set(ops(apply(g.model(y)).model)) == {"Relu", "Reshape", "Exp"}
