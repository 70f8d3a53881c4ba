from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, software


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("op", ["Concat", "Slice", "Split"])
def test_inner_axes_become_the_outermost(op: str, target: str) -> None:
    g = GraphWriter()
    a = g.node("Relu", g.input("a", [1, 6, 10]))
    if op == "Concat":
        y = [g.node("Concat", a, g.node("Relu", g.input("b", [1, 6, 4])), axis=2)]
    elif op == "Slice":
        y = [g.node("Slice", a, *(g.constant([v], "int64") for v in (-7, 9, 2)))]
    else:
        y = g.node("Split", a, g.constant([3, 7], "int64"), axis=2, outputs=2)
    model = g.model(*(g.node("Exp", v) for v in y))
    assert software(model, target)[op] >= 1
    assert not software(apply(model, "outermost-axis", target=target).model, target)
