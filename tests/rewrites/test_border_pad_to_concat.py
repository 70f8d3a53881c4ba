from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, apply, ops, reasons, software

RULE = "border-pad-to-concat"


def padded(mode: str, pads: list[int], opset_axes: list[int] | None = None) -> GraphWriter:
    g = GraphWriter()
    x = g.input("x", [1, 4, 9, 7])
    g.node("Relu", g.node("Pad", x, g.constant(pads, np.int64), mode=mode))
    return g


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [[0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 3, 0, 0, 0, 0, 2], [0, 2, 0, 1, 0, 1, 4, 0]])
def test_the_same_border(mode: str, pads: list[int]) -> None:
    g = padded(mode, pads)
    assert "Pad" not in ops(apply(g.model(str(g.nodes[-1].output[0])), RULE).model)


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_a_convolution_with_such_a_border_stays_on_the_npu(mode: str) -> None:
    g = GraphWriter()
    x = g.node("Relu", g.node("Conv", g.input("x", [1, 8, 48, 64]), g.weight(8, 8, 1, 1)))
    y = g.node(
        "Conv", g.node("Pad", x, g.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode=mode), g.weight(8, 8, 3, 3)
    )
    model = g.model(y)
    assert software(model, NEW)["Pad"] == 1
    assert not software(rewrite(model, None, RewriteConfig(), target=NEW).model, NEW)


def test_a_wide_border_is_refused_with_the_limit() -> None:
    g = padded("edge", [0, 0, 9, 0, 0, 0, 9, 0])
    assert "more than 16 lines" in reasons(apply(g.model(str(g.nodes[-1].output[0])), RULE), RULE)
