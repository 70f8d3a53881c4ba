from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, apply, ops, reasons, software

RULE = "cumsum-to-matmul"


def sums(shape: list[int], axis: int, **flags: int) -> tuple[GraphWriter, str]:
    g = GraphWriter()
    return g, g.node("Relu", g.node("CumSum", g.input("x", shape), g.constant(axis, np.int64), **flags))


@pytest.mark.parametrize("flags", [{}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}])
@pytest.mark.parametrize(("shape", "axis"), [([1, 7], 1), ([1, 5, 6], 1), ([1, 3, 4, 5], -1), ([2, 3, 4], 0)])
def test_the_same_sums(shape: list[int], axis: int, flags: dict[str, int]) -> None:
    g, y = sums(shape, axis, **flags)
    assert "CumSum" not in ops(apply(g.model(y), RULE).model)


def test_no_part_of_it_runs_on_the_cpu() -> None:
    g, y = sums([1, 10, 16], 1)
    assert not software(rewrite(g.model(y), None, RewriteConfig(), target=NEW).model, NEW)


def test_a_long_axis_is_refused_with_the_limit() -> None:
    g, y = sums([1, 5000], 1)
    assert "more than 4096" in reasons(apply(g.model(y), RULE), RULE)
