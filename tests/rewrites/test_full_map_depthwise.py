from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, alone, apply, ops, reasons, software, stays


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


@pytest.mark.parametrize("form", ["pads", "groups", "smaller", "weights"])
def test_other_wide_kernels_stay(form: str) -> None:
    g = GraphWriter()
    x, width = g.input("x", [1, 8, 7, 9]), 8 if form == "smaller" else 9
    shape = (8, 2 if form == "groups" else 1, 7, width)
    weight = g.input("w", shape) if form == "weights" else g.weight(*shape)
    pads = [1, 1, 1, 1] if form == "pads" else [0, 0, 0, 0]
    model = g.model(g.node("Conv", x, weight, group=4 if form == "groups" else 8, pads=pads))
    assert not stays(model, "full-map-depthwise")


@pytest.mark.parametrize("width", [7, 13])
def test_channels_of_zeros(width: int) -> None:
    g = GraphWriter()
    weight = g.random.standard_normal((8, 1, 7, width))
    weight[2:4] = 0
    model = g.model(g.node("Conv", g.input("x", [1, 8, 7, width]), g.constant(weight), g.vector(8), group=8))
    assert alone(model, "full-map-depthwise").applied
