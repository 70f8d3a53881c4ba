from __future__ import annotations

import numpy as np
import pytest

from n6convert.graph.query import attribute

from .graphs import GraphWriter
from .helpers import apply, reasons

RULE = "transpose-off-batch"


@pytest.mark.parametrize(
    ("shape", "perm"),
    [
        ([1, 6, 8], [2, 0, 1]), ([1, 6, 8], [1, 0, 2]), ([5, 1, 8], [1, 0, 2]), ([5, 6, 8], [2, 0, 1]),
        ([5, 6], [1, 0]), ([1, 4, 5, 6], [3, 0, 2, 1]), ([4, 1, 5, 6], [1, 3, 0, 2]), ([4, 5, 6, 1], [3, 2, 1, 0]),
    ],
)  # fmt: skip
def test_the_first_axis_stays(shape: list[int], perm: list[int]) -> None:
    g = GraphWriter()
    y = g.node("Relu", g.node("Transpose", g.input("x", shape), perm=perm))
    result = apply(g.model(g.node("Reshape", y, g.constant([1, -1], np.int64))), RULE)
    assert result.applied
    assert all(attribute(n, "perm")[0] == 0 for n in result.model.graph if n.op_type == "Transpose")


def test_four_long_axes_are_refused() -> None:
    g = GraphWriter()
    y = g.node("Transpose", g.input("x", [2, 3, 4, 5]), perm=[3, 1, 2, 0])
    assert "turns 4 axes" in reasons(apply(g.model(y), RULE), RULE)
