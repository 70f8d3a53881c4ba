from __future__ import annotations

import numpy as np
import pytest

from n6convert.linter import Severity, lint
from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software

RULE = "four-axes"
FULL = [1, 2, 3, 4, 5]


def wide(g: GraphWriter) -> str:
    return g.reshape(g.input("x", [1, 6, 4, 5]), FULL)


@pytest.mark.parametrize("op", ["Add", "Mul", "Sub", "Max"])
@pytest.mark.parametrize(
    "other", [[1, 2, 1, 1, 1], [1, 2, 3, 1, 1], [5], [4, 5], [1, 1, 3, 4, 1], FULL, [1, 1, 1, 4, 5]]
)
def test_operands_that_are_repeated(op: str, other: list[int]) -> None:
    g = GraphWriter()
    y = g.input("y", other) if other == FULL else g.constant(g.random.standard_normal(other))
    result = apply(g.model(g.node(op, wide(g), y)), RULE)
    assert all(len(n.outputs[0].shape or ()) <= 4 for n in result.model.graph if n.op_type == op)


@pytest.mark.parametrize("axis", [1, 2, -1])
def test_operators_along_an_axis(axis: int) -> None:
    g = GraphWriter()
    x = wide(g)
    model = g.model(g.node("Softmax", g.node("Concat", x, g.node("Relu", x), axis=axis), axis=axis))
    result = apply(model, RULE)
    computing = [n for n in result.model.graph if n.op_type != "Reshape"]
    assert len(computing) == 3 and all(len(n.outputs[0].shape or ()) == 4 for n in computing)


def test_matrices_of_several_batches() -> None:
    g = GraphWriter()
    model = g.model(g.node("MatMul", wide(g), g.input("y", [1, 2, 3, 5, 4])))
    product = next(n for n in apply(model, RULE).model.graph if n.op_type == "MatMul")
    assert tuple(product.outputs[0].shape or ()) == (6, 4, 4)


def test_axes_that_alternate_are_refused() -> None:
    g = GraphWriter()
    model = g.model(g.node("Mul", wide(g), g.constant(np.ones((1, 2, 1, 4, 1)) * 0.5)))
    assert "4 groups of axes" in reasons(apply(model, RULE), RULE)


@pytest.mark.parametrize("target", [OLD, NEW])
def test_group_normalization_on_five_axes(target: str) -> None:
    g = GraphWriter()
    x = g.node("Conv", g.input("x", [1, 8, 6, 6]), g.weight(8, 8, 3, 3))
    groups = g.reshape(x, [1, 2, 4, 4, 4])
    centered = g.node("Sub", groups, g.node("ReduceMean", groups, axes=[2, 3, 4]))
    scaled = g.node("Mul", centered, g.constant(g.random.standard_normal((1, 2, 4, 1, 1))))
    model = g.model(g.node("Conv", g.reshape(scaled, [1, 8, 4, 4]), g.weight(4, 8, 3, 3)))
    result = rewrite(model, None, RewriteConfig(), target=target).model
    assert not software(result, target) and "Conv" in ops(result)
    assert not [f for f in lint(result, target) if f.severity is Severity.ERROR]
