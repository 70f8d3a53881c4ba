from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(("axis", "first", "step"), [(2, 0, 2), (3, 1, 2), (3, 2, 4)])
def test_a_single_slice_is_a_depthwise_convolution(axis: int, first: int, step: int, target: str) -> None:
    g = GraphWriter()
    model = g.model(g.every(g.input("x", [1, 8, 16, 16]), axis, first, step))
    result = apply(model, "strided-slice-to-conv", target=target)
    assert ops(result.model) == {"Conv": 1}
    assert software(model, target) and not software(result.model, target)


def test_rows_and_columns_at_once() -> None:
    g = GraphWriter()
    model = g.model(g.every(g.every(g.input("x", [1, 8, 16, 16]), 2, 1), 3, 0))
    assert ops(apply(model, "strided-slice-to-conv").model) == {"Conv": 1}


def test_other_slices_stay() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 8, 15, 16])
    model = g.model(g.every(x, 2, 0), g.every(x, 1, 0), g.every(x, 3, 3))
    assert "Conv" not in ops(apply(model, "strided-slice-to-conv").model)
