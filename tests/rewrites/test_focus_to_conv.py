from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def focus(channels: int = 3, size: int = 16):
    g = GraphWriter()
    x = g.input("x", [1, channels, size, size])
    parts = [g.every(g.every(x, 2, i), 3, j) for j in (0, 1) for i in (0, 1)]
    return g.model(g.node("Concat", *parts, axis=1))


@pytest.mark.parametrize("target", [OLD, NEW])
def test_a_focus_layer_is_one_convolution(target: str) -> None:
    result = apply(focus(), "focus-to-conv", target=target)
    assert ops(result.model) == {"Conv": 1}
    assert software(focus(), target) and not software(result.model, target)
