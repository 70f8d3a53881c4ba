from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def every(g: GraphWriter, x: str, axis: int, first: int, step: int = 2) -> str:
    return str(g.node("Slice", x, *(g.constant([v], np.int64) for v in (first, 2**31 - 1, axis, step))))


def focus(channels: int = 3, size: int = 16):
    g = GraphWriter()
    x = g.input("x", [1, channels, size, size])
    parts = [every(g, every(g, x, 2, i), 3, j) for j in (0, 1) for i in (0, 1)]
    return g.model(g.node("Concat", *parts, axis=1))


@pytest.mark.parametrize("target", [OLD, NEW])
def test_a_focus_layer_is_one_convolution(target: str) -> None:
    result = apply(focus(), "focus-to-conv", target=target)
    assert ops(result.model) == {"Conv": 1}
    assert software(focus(), target) and not software(result.model, target)


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(("axis", "first", "step"), [(2, 0, 2), (3, 1, 2), (3, 2, 4)])
def test_a_single_slice_is_a_depthwise_convolution(axis: int, first: int, step: int, target: str) -> None:
    g = GraphWriter()
    model = g.model(every(g, g.input("x", [1, 8, 16, 16]), axis, first, step))
    result = apply(model, "strided-slice-to-conv", target=target)
    assert ops(result.model) == {"Conv": 1}
    assert software(model, target) and not software(result.model, target)


def test_rows_and_columns_at_once() -> None:
    g = GraphWriter()
    model = g.model(every(g, every(g, g.input("x", [1, 8, 16, 16]), 2, 1), 3, 0))
    assert ops(apply(model, "strided-slice-to-conv").model) == {"Conv": 1}


def test_other_slices_stay() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 8, 15, 16])
    model = g.model(every(g, x, 2, 0), every(g, x, 1, 0), every(g, x, 3, 3))
    assert "Conv" not in ops(apply(model, "strided-slice-to-conv").model)
