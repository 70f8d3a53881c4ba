from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(("width", "form"), [(7, {"Conv": 4, "Add": 1}), (13, {"Mul": 1, "GlobalAveragePool": 1})])
def test_a_depthwise_kernel_over_the_whole_map(width: int, form: dict[str, int], target: str) -> None:
    g = GraphWriter()
    x, weight = g.input("x", [1, 8, 7, width]), g.weight(8, 1, 7, width)
    model = g.model(g.node("Conv", x, weight, g.vector(8), group=8))
    assert software(model, target)
    rewritten = apply(model, "full-map-depthwise", target=target).model
    assert not software(rewritten, target)
    assert {op: ops(rewritten)[op] for op in form} == form


def test_a_narrow_kernel_stays() -> None:
    g = GraphWriter()
    model = g.model(g.node("Conv", g.input("x", [1, 8, 5, 5]), g.weight(8, 1, 5, 5), group=8))
    assert "5 wide" in reasons(apply(model, "full-map-depthwise"), "full-map-depthwise")
