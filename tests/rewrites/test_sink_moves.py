from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


def test_channel_last_splits_become_channel_splits() -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 8, 4, 4]), perm=[0, 2, 3, 1])
    halves = g.node("Split", turned, axis=3, outputs=2)
    model = g.model(*(g.node("Transpose", g.node("Relu", h), perm=[0, 3, 1, 2]) for h in halves))
    assert ops(apply(model, "sink-moves").model) == {"Split": 1, "Relu": 2}


@pytest.mark.parametrize("form", ["Concat", "Slice", "Split"])
def test_one_layout_behind_instead_of_several_in_front(form: str) -> None:
    g = GraphWriter()
    turned = [
        g.node("Transpose", g.input(n, [1, 8, 4, 4]), perm=[0, 2, 3, 1]) for n in ("ab" if form == "Concat" else "a")
    ]
    if form == "Concat":
        y = [g.node("Concat", *turned, axis=3)]
    elif form == "Split":
        y = g.node("Split", turned[0], g.constant([3, 5], np.int64), axis=3, outputs=2)
    else:
        y = [g.node("Slice", turned[0], *(g.constant([v], np.int64) for v in (-5, 2**63 - 1, 3)))]
    run = alone(g.model(*y), "sink-moves")
    assert {n.op_type for x in run.model.graph.inputs for n in x.consumers()} == {form}
    assert ops(run.model)["Transpose"] == len(y)


@pytest.mark.parametrize(("start", "end"), [(1, 3), (-2, 2**63 - 1), (-(2**62), -1)])
def test_a_slice_of_the_leading_factor_of_an_axis(start: int, end: int) -> None:
    g = GraphWriter()
    x = g.reshape(g.input("x", [1, 20, 3]), [1, 4, 5, 3])
    bounds = (g.constant([v], np.int64) for v in (start, end, 1))
    run = alone(g.model(g.node("Slice", x, *bounds)), "sink-moves")
    assert run.applied and [n.op_type for n in run.model.graph] == ["Slice", "Reshape"]


@pytest.mark.parametrize("form", ["inner factor", "batch", "unlike", "one of them"])
def test_other_moves_stay(form: str) -> None:
    g = GraphWriter()
    a, b = g.input("a", [1, 20, 3]), g.input("b", [1, 3, 20] if form == "one of them" else [1, 20, 3])
    if form == "inner factor":
        y = g.node("Slice", g.reshape(a, [1, 4, 5, 3]), *(g.constant([v], np.int64) for v in (1, 3, 2)))
    elif form == "batch":
        y = g.node("Slice", g.node("Transpose", a, perm=[1, 0, 2]), *(g.constant([v], np.int64) for v in (0, 1, 1)))
    else:
        second = g.node("Transpose", b, perm=[0, 2, 1]) if form == "unlike" else b
        y = g.node("Concat", g.reshape(a, [1, 3, 20]), second, axis=1)
    assert not stays(g.model(y), "sink-moves")


@pytest.mark.parametrize("form", ["other axes", "other lengths", "copies"])
def test_joins_of_unlike_or_of_the_same_layouts_stay(form: str) -> None:
    g = GraphWriter()
    a, b = g.input("a", [1, 4, 4, 4]), g.input("b", [1, 4, 4, 4])
    first = g.node("Transpose", a, perm=[0, 2, 3, 1])
    if form == "copies":
        second = first
    elif form == "other axes":
        second = g.node("Transpose", b, perm=[0, 3, 1, 2])
    else:
        second = g.node("Transpose", b, perm=[0, 3, 2, 1])
    assert not stays(g.model(g.node("Concat", first, second, axis=3)), "sink-moves")
