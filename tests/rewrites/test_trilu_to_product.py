from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import apply, ops


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("shift", [None, -1, 2])
def test_a_triangle_is_a_product(upper: int, shift: int | None) -> None:
    g = GraphWriter()
    more = [] if shift is None else [g.constant(shift, np.int64)]
    model = g.model(g.node("Trilu", g.input("x", [1, 5, 7]), *more, upper=upper))
    result = apply(model, "trilu-to-product")
    assert ops(result.model) == {"Mul": 1}
