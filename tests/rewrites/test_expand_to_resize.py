from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import OLD, apply, ops, software


@pytest.mark.parametrize(
    ("view", "wide", "result"),
    [
        ([1, 8, 6, 1, 5, 1], [1, 8, 6, 2, 5, 2], [1, 8, 12, 10]),
        ([1, 8, 6, 1, 5], [1, 8, 6, 3, 5], [1, 8, 18, 5]),
        ([1, 8, 6, 5, 1], [1, 8, 6, 5, 2], [1, 8, 6, 10]),
    ],
)
def test_repeated_rows_and_columns_are_a_resize(view: list[int], wide: list[int], result: list[int]) -> None:
    g = GraphWriter()
    x = g.node("Conv", g.input("x", [1, 4, 6, 5]), g.weight(8, 4, 1, 1))
    y = g.reshape(g.node("Expand", g.reshape(x, view), g.constant(wide, np.int64)), result)
    model = g.model(g.node("Conv", y, g.weight(4, 8, 1, 1)))
    assert ops(apply(model, "expand-to-resize").model)["Resize"] == 1
    whole = rewrite(model, None, RewriteConfig(), target=OLD).model
    assert not software(whole, OLD) and all(len(v.shape or ()) <= 4 for n in whole.graph for v in n.outputs)


def test_rows_that_are_repeated_as_a_whole_stay() -> None:
    g = GraphWriter()
    x = g.reshape(g.input("x", [1, 8, 6, 5]), [1, 8, 1, 6, 5])
    y = g.reshape(g.node("Expand", x, g.constant([1, 8, 2, 6, 5], np.int64)), [1, 8, 12, 5])
    assert "Resize" not in ops(apply(g.model(g.node("Relu", y)), "expand-to-resize").model)
