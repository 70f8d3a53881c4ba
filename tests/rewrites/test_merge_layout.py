from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import apply, ops


@pytest.mark.parametrize(
    "perms", [[(0, 2, 3, 1), (0, 3, 1, 2)], [(0, 2, 1, 3), (0, 2, 1, 3)], [(0, 3, 1, 2), (0, 3, 1, 2), (0, 3, 1, 2)]]
)
def test_transposes_that_undo_each_other_vanish(perms: list[tuple[int, ...]]) -> None:
    g = GraphWriter()
    y = g.node("Relu", g.input("x", [1, 3, 4, 5]))
    for perm in perms:
        y = g.node("Transpose", y, perm=list(perm))
    assert ops(apply(g.model(g.node("Exp", y))).model) == {"Relu": 1, "Exp": 1}
