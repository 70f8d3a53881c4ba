from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import OLD, apply, ops, reasons, software


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"])
@pytest.mark.parametrize("axes", [[2, 3], [1], [3], [1, 2, 3]])
def test_reductions_become_pools(op: str, axes: list[int]) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4, 5])
    y = g.node(op, x, g.constant(axes, np.int64)) if op == "ReduceSum" else g.node(op, x, axes=axes, keepdims=0)
    result = apply(g.model(y), "reduce-to-pool")
    assert op not in ops(result.model)
    assert not software(result.model, OLD)


def test_axes_with_a_gap_are_refused() -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("ReduceMean", g.input("x", [1, 6, 4, 5]), axes=[1, 3])), "reduce-to-pool")
    assert "no neighbours" in reasons(result, "reduce-to-pool")


def test_an_axis_in_the_middle_is_refused() -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("ReduceMean", g.input("x", [1, 6, 4, 5]), axes=[2])), "reduce-to-pool")
    assert "between others" in reasons(result, "reduce-to-pool")
