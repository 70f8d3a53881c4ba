from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, alone, apply, software, stays


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


@pytest.mark.parametrize(
    ("form", "why"),
    [("constant", "is a constant"), ("steps", "every other"), ("long", "exceeds"), ("channels", ""), ("first", "")],
)
def test_other_axes_and_forms_stay(form: str, why: str) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 2, 3, 22000] if form == "long" else [1, 6, 10] if form != "first" else [1, 1, 10])
    if form == "steps":
        y = g.every(x, 2, 0)
    elif form == "long":
        y = g.node("Concat", x, x, axis=2)
    else:
        other = g.weight(1, 6, 4) if form == "constant" else x
        y = g.node("Concat", x, other, axis=1 if form == "channels" else 2)
    found = stays(g.model(y), "outermost-axis")
    assert why in found and bool(why) == bool(found)


@pytest.mark.parametrize(("start", "end"), [(-3, 2**40), (0, -1), (2, 5), (-100, 4)])
def test_bounds_from_the_end_and_beyond(start: int, end: int) -> None:
    g = GraphWriter()
    bounds = (g.constant([v], np.int64) for v in (start, end, -1))
    run = alone(g.model(g.node("Slice", g.input("x", [1, 3, 7]), *bounds)), "outermost-axis")
    x = np.arange(21, dtype=np.float32).reshape(1, 3, 7)
    (found,) = run_model(run.model, {"x": x}).values()
    np.testing.assert_array_equal(found, x[..., start:end])
    assert run.applied


def test_channels_of_a_batch_and_whole_numbers_stay() -> None:
    g = GraphWriter()
    x = g.input("x", [2, 6, 10])
    whole = g.node("Cast", x, to=7)
    joined = g.node("Cast", g.node("Concat", whole, whole, axis=2), to=1)
    assert not stays(g.model(g.node("Concat", x, x, axis=1), joined), "outermost-axis")
