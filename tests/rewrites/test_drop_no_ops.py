from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import all_rules

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


def test_nodes_that_give_back_their_input_go() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4])
    y = g.node("Relu", x)
    y = g.node("Identity", g.node("Dropout", g.node("Cast", y, to=1)))
    y = g.node("Add", g.node("Mul", y, g.constant(1.0)), g.constant(np.zeros((1, 6, 1))))
    y = g.node("Div", g.node("Sub", g.node("Concat", y, axis=1), g.constant(0.0)), g.constant(1.0))
    y = g.node("Slice", y, g.constant([0], "int64"), g.constant([9999], "int64"), g.constant([1], "int64"))
    y = g.node("Expand", g.node("Transpose", y, perm=[0, 1, 2]), g.constant([1, 6, 4], "int64"))
    assert ops(apply(g.model(g.node("Exp", y))).model) == {"Relu": 1, "Exp": 1}


def test_a_broadcast_by_one_is_not_nothing() -> None:
    g = GraphWriter()
    model = g.model(g.node("Mul", g.input("x", [1, 1, 4]), g.constant(np.ones((1, 6, 1)))))
    assert ops(apply(model).model)["Mul"] == 1


def test_an_input_may_be_an_output() -> None:
    g = GraphWriter()
    model = g.model(g.node("Identity", g.input("x", [1, 6])))
    assert [v.name for v in apply(model).model.graph.outputs] == [v.name for v in model.graph.outputs]


NOTHING = {
    "identity": lambda g, x: g.node("Identity", x),
    "cast": lambda g, x: g.node("Cast", x, to=1),
    "one factor": lambda g, x: g.node("Mul", g.constant(np.ones((4, 4))), x),
    "sum of one": lambda g, x: g.node("Sum", x),
    "tile": lambda g, x: g.node("Tile", x, g.constant([1, 1, 1], np.int64)),
    "pad": lambda g, x: g.node("Pad", x, g.constant([0] * 6, np.int64)),
    "slice": lambda g, x: g.node("Slice", x, *(g.constant([v], np.int64) for v in (-4, 2**40, 1))),
}
SOMETHING = {
    "transpose of a square": lambda g, x: g.node("Transpose", x, perm=[0, 2, 1]),
    "backwards": lambda g, x: g.node("Slice", x, *(g.constant([v], np.int64) for v in (-1, -9, 1, -1))),
    "one by": lambda g, x: g.node("Div", g.constant(1.0), x),
    "nothing minus": lambda g, x: g.node("Sub", g.constant(0.0), x),
    "rounded": lambda g, x: g.node("Cast", g.node("Cast", x, to=7), to=1),
    "ones and a two": lambda g, x: g.node("Mul", x, g.constant([1, 1, 2, 1])),
    "two": lambda g, x: g.node("Concat", x, x, axis=1),
    "wider": lambda g, x: g.node("Add", x, g.constant(np.zeros((2, 1, 4, 4)))),
    "pad": lambda g, x: g.node("Pad", x, g.constant([0, 1, 0, 0, -1, 0], np.int64)),
}


@pytest.mark.parametrize("form", NOTHING)
@pytest.mark.parametrize("end", [True, False], ids=["output", "inside"])
def test_each_that_does_nothing(form: str, end: bool) -> None:
    g = GraphWriter()
    y = NOTHING[form](g, g.node("Relu", g.input("x", [1, 4, 4])))
    run = alone(g.model(y if end else g.node("Exp", y)), "drop-no-ops")
    assert ops(run.model) == ({"Relu": 1} if end else {"Relu": 1, "Exp": 1})


@pytest.mark.parametrize("form", SOMETHING)
def test_each_that_does_something(form: str) -> None:
    g = GraphWriter()
    assert not stays(g.model(SOMETHING[form](g, g.node("Exp", g.input("x", [1, 4, 4])))), "drop-no-ops")


def test_a_direction_that_is_computed_is_not_known() -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 4, 4]))
    start, end, step = (g.node("Cast", g.input(n, [1]), to=7) for n in "abc")
    model = g.model(g.node("Slice", x, start, end, g.constant([1], np.int64), step))
    node = next(n for n in model.graph if n.op_type == "Slice")
    node.outputs[0].shape = model.graph.inputs[0].shape
    rule = next(r for r in all_rules() if r.name == "drop-no-ops")
    assert rule.pattern(node) is None


@pytest.mark.parametrize("form", ["reshape", "slice", "expand", "mask"])
def test_another_shape_and_a_mask_that_is_read_are_something(form: str) -> None:
    g = GraphWriter()
    x = g.node("Relu", g.input("x", [1, 4, 4]))
    if form == "mask":
        kept, mask = g.node("Dropout", x, outputs=2)
        model = g.model(g.node("Exp", kept), g.node("Cast", mask, to=1))
    elif form == "slice":
        model = g.model(g.node("Slice", x, *(g.constant([v], np.int64) for v in (0, 3, 1))))
    else:
        model = g.model(
            g.reshape(x, [4, 4]) if form == "reshape" else g.node("Expand", x, g.constant([2, 1, 1], np.int64))
        )
    assert not stays(model, "drop-no-ops")
