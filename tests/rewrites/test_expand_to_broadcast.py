from __future__ import annotations

import numpy as np

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def test_the_operator_behind_repeats_by_itself() -> None:
    g = GraphWriter()
    wide = g.node("Expand", g.input("b", [4, 1, 1]), g.constant([1, 4, 6, 6], np.int64))
    model = g.model(g.node("Mul", g.input("x", [1, 4, 6, 6]), wide))
    result = apply(model, "expand-to-broadcast")
    assert ops(result.model) == {"Mul": 1}
    for target in (OLD, NEW):
        assert software(model, target) and not software(result.model, target)


def test_a_tensor_that_is_needed_repeated_is_a_product_with_ones() -> None:
    g = GraphWriter()
    wide = g.node("Expand", g.input("b", [1, 4, 1, 1]), g.constant([1, 4, 6, 6], np.int64))
    model = g.model(g.node("Concat", wide, g.input("x", [1, 4, 6, 6]), axis=1))
    result = apply(model, "expand-to-broadcast")
    assert ops(result.model) == {"Mul": 1, "Concat": 1}
    assert not software(result.model, NEW)


def test_two_that_need_each_other_keep_one() -> None:
    g = GraphWriter()
    shape = g.constant([1, 4, 6, 6], np.int64)
    wide = [g.node("Expand", g.input(n, [1, 4, 1, 1]), shape) for n in "ab"]
    result = apply(g.model(g.node("Add", *wide)), "expand-to-broadcast")
    assert "Expand" not in ops(result.model)
