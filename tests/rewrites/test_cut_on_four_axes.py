from __future__ import annotations

import numpy as np
import pytest

from n6convert.graph.query import shape_of
from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, apply, reasons, sample, software

RULE = "cut-on-four-axes"
SHAPE = [1, 4, 3, 6, 5]


def widest(model) -> int:
    """The most axes of a tensor that is neither input, output nor only seen in another shape."""
    return max(len(shape_of(v) or ()) for n in model.graph if n.op_type != "Reshape" for v in n.outputs)


@pytest.mark.parametrize("axis", [1, 2, 3, 4])
@pytest.mark.parametrize("op", ["Slice", "Split", "ReduceMean", "ReduceMax", "ReduceSum", "Pad"])
def test_one_axis(op: str, axis: int) -> None:
    g = GraphWriter()
    x = g.input("x", SHAPE)
    if op == "Slice":
        y = [g.node(op, x, *(g.constant([n], np.int64) for n in (1, 100, axis, 2)))]
    elif op == "Split":
        y = g.node(op, x, g.constant([1, SHAPE[axis] - 1], np.int64), axis=axis, outputs=2)
    elif op == "Pad":
        y = [g.node(op, x, g.constant([n for _ in "ab" for n in np.eye(5, dtype=int)[axis]], np.int64))]
    elif op == "ReduceSum":
        y = [g.node(op, x, g.constant([axis], np.int64), keepdims=0)]
    else:
        y = [g.node(op, x, axes=[axis], keepdims=0)]
    model = g.model(*(g.node("Reshape", v, g.constant([1, -1], np.int64)) for v in y))
    assert widest(apply(model, RULE).model) <= 4


@pytest.mark.parametrize("axes", [[2, 3], [3, 4], [1, 2, 3], [-1, -2]])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_several_axes_of_a_mean(axes: list[int], keepdims: int) -> None:
    g = GraphWriter()
    y = g.node("ReduceMean", g.input("x", SHAPE), axes=axes, keepdims=keepdims)
    assert widest(apply(g.model(g.node("Reshape", y, g.constant([1, -1], np.int64))), RULE).model) <= 4


def test_axes_that_leave_too_many_groups_are_refused() -> None:
    g = GraphWriter()
    y = g.node("ReduceMean", g.input("x", [1, 2, 3, 4, 5, 6]), axes=[2, 4])
    assert "groups of axes" in reasons(apply(g.model(y), RULE), RULE)


@pytest.mark.parametrize("perm", [[2, 0, 3, 4, 1], [2, 0, 3, 1, 4]])
def test_queries_keys_and_values_of_one_product(perm: list[int]) -> None:
    """Cross-covariance attention turns heads by channels, others by tokens; both take five axes apart."""
    g = GraphWriter()
    product = g.linear(g.input("x", [1, 16, 24]), 24, 72)
    turned = g.node("Transpose", g.reshape(product, [1, 16, 3, 4, 6]), perm=perm)
    q, k, v = (g.node("Gather", turned, g.constant(i, np.int64), axis=0) for i in range(3))
    scores = g.node("Softmax", g.node("MatMul", q, g.node("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    model = g.model(g.node("Reshape", g.node("MatMul", scores, v), g.constant([1, -1], np.int64)))
    result = rewrite(model, lambda: [sample(model)], RewriteConfig(), target=NEW)
    wide = [n.op_type for n in result.model.graph if any(len(shape_of(v) or ()) > 4 for v in n.outputs)]
    assert not wide and not software(result.model, NEW)
