from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("shift", [None, -1, 2])
def test_a_triangle_is_a_product(upper: int, shift: int | None) -> None:
    g = GraphWriter()
    more = [] if shift is None else [g.constant(shift, np.int64)]
    model = g.model(g.node("Trilu", g.input("x", [1, 5, 7]), *more, upper=upper))
    result = apply(model, "trilu-to-product")
    assert ops(result.model) == {"Mul": 1}


@pytest.mark.parametrize("shift", [-9, 9])
def test_a_shift_beyond_the_edge(shift: int) -> None:
    g = GraphWriter()
    model = g.model(g.node("Trilu", g.input("x", [2, 5, 7]), g.constant(shift, np.int64), upper=1))
    run = alone(model, "trilu-to-product")
    (found,) = run_model(run.model, {"x": np.ones((2, 5, 7), np.float32)}).values()
    np.testing.assert_array_equal(found, np.broadcast_to(np.triu(np.ones((5, 7)), shift), (2, 5, 7)))


def test_a_computed_shift_and_whole_numbers_stay() -> None:
    g = GraphWriter()
    x = g.input("x", [5, 7])
    shift = g.node("Cast", g.node("Abs", g.input("k", [1])), to=7)
    whole = g.node("Cast", g.node("Trilu", g.node("Cast", x, to=7)), to=1)
    assert not stays(g.model(g.node("Trilu", x, shift), whole), "trilu-to-product")
