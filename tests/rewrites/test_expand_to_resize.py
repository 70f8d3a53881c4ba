from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import OLD, alone, apply, ops, software, stays


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


def repeated(full: list[int], view: list[int], wide: list[int], result: list[int]) -> ir.Model:
    g = GraphWriter()
    y = g.node("Expand", g.reshape(g.input("x", full), view), g.constant(wide, np.int64))
    return g.model(g.reshape(y, result))


@pytest.mark.parametrize("op", ["Expand", "Tile"])
def test_pixels_are_repeated_in_place(op: str) -> None:
    g = GraphWriter()
    view = g.reshape(g.input("x", [1, 2, 2, 3]), [1, 2, 2, 1, 3, 1])
    times = g.constant([1, 2, 2, 2, 3, 3] if op == "Expand" else [1, 1, 1, 2, 1, 3], np.int64)
    run = alone(g.model(g.reshape(g.node(op, view, times), [1, 2, 4, 9])), "expand-to-resize")
    x = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    (found,) = run_model(run.model, {"x": x}).values()
    np.testing.assert_array_equal(found, x.repeat(2, axis=2).repeat(3, axis=3))
    assert ops(run.model) == {"Resize": 1}


@pytest.mark.parametrize(
    ("full", "view", "wide", "result"),
    [
        ([1, 4, 2, 3], [1, 4, 1, 2, 3], [1, 4, 2, 2, 3], [1, 8, 2, 3]),
        ([1, 4, 3], [1, 4, 3, 1], [1, 4, 3, 2], [1, 4, 6]),
        ([1, 4, 2, 3], [1, 4, 2, 3, 1], [1, 4, 2, 3, 2], [1, 4, 4, 3]),
    ],
    ids=["channels", "three axes", "another view"],
)
def test_other_repetitions_stay(full: list[int], view: list[int], wide: list[int], result: list[int]) -> None:
    assert not stays(repeated(full, view, wide, result), "expand-to-resize")
