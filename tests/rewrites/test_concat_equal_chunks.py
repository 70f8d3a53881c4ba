from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software


def neck(sizes: list[int], other_reader: bool = False):
    g = GraphWriter()
    x = g.input("x", [1, 8, 8, 8])
    parts = [g.node("Conv", x, g.weight(n, 8, 1, 1)) for n in sizes]
    joined = g.node("Concat", *parts, axis=1)
    y = g.node("Conv", joined, g.weight(8, sum(sizes), 3, 3), g.vector(8), pads=[1, 1, 1, 1])
    return g.model(y, g.node("Relu", joined)) if other_reader else g.model(y)


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("rule", ["concat-equal-chunks", "concat-conv-split"])
def test_unequal_parts_stay_on_the_npu(rule: str, target: str) -> None:
    model = neck([16, 32, 8])
    assert software(model, target)["Concat"] == 1
    assert not software(apply(model, rule, target=target).model, target)


def test_equal_parts_are_left_alone() -> None:
    assert not apply(neck([16, 16]), "concat-equal-chunks", "concat-conv-split").applied


def test_too_many_pieces_are_refused_and_summed_instead() -> None:
    result = apply(neck([64, 1]), "concat-equal-chunks", "concat-conv-split")
    assert "65 equal pieces" in reasons(result, "concat-equal-chunks")
    assert ops(result.model)["Conv"] == 4


def test_another_reader_forbids_the_sum() -> None:
    result = apply(neck([16, 32], other_reader=True), "concat-conv-split")
    assert "needed by Relu" in reasons(result, "concat-conv-split")


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("op", ["Concat", "Slice", "Split"])
def test_inner_axes_become_the_outermost(op: str, target: str) -> None:
    g = GraphWriter()
    a = g.node("Relu", g.input("a", [1, 6, 10]))
    if op == "Concat":
        y = [g.node("Concat", a, g.node("Relu", g.input("b", [1, 6, 4])), axis=2)]
    elif op == "Slice":
        y = [g.node("Slice", a, *(g.constant([v], "int64") for v in (-7, 9, 2)))]
    else:
        y = g.node("Split", a, g.constant([3, 7], "int64"), axis=2, outputs=2)
    model = g.model(*(g.node("Exp", v) for v in y))
    assert software(model, target)[op] >= 1
    assert not software(apply(model, "outermost-axis", target=target).model, target)


def test_channel_last_splits_become_channel_splits() -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 8, 4, 4]), perm=[0, 2, 3, 1])
    halves = g.node("Split", turned, axis=3, outputs=2)
    model = g.model(*(g.node("Transpose", g.node("Relu", h), perm=[0, 3, 1, 2]) for h in halves))
    assert ops(apply(model, "sink-moves").model) == {"Split": 1, "Relu": 2}
