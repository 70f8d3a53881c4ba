"""Parts of a Split that nothing reads."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import apply, ops


@pytest.mark.parametrize(
    ("sizes", "read", "left"),
    [
        ([2, 4], [1], {"Slice": 1}),
        ([2, 2, 2], [0, 2], {"Slice": 2}),
        ([0, 6], [1], {}),
        ([6, 0], [0], {}),
        ([2, 4], [0, 1], {"Split": 1}),
    ],
)
def test_only_what_is_read_is_cut(sizes: list[int], read: list[int], left: dict[str, int]) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4])
    parts = g.node("Split", x, g.constant(sizes, np.int64), outputs=len(sizes), axis=1)
    model = g.model(*(g.node("Exp", parts[i]) for i in read))
    found = ops(apply(model, "drop-unread-parts").model)
    assert found == Counter(left) + Counter({"Exp": len(read)})
