from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.graph.query import constant_of, producer
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import alone, sample


def attention(
    *, groups: int = 1, fused: bool = False, gemm: bool = False, reader: str = "", axis: int = -1
) -> ir.Model:
    """Attention whose values have a common part of 5: in groups of rows, from one layer for all three, or before a
    Gemm; other readers of the values or the context if asked for."""
    g = GraphWriter()
    x, width = g.input("x", [1, 16, 16]), 16
    shift = g.constant(np.full(width, 5.0))
    if fused:
        both = g.node("Add", g.node("MatMul", x, g.weight(16, 48)), g.constant(np.repeat([1.0, 2.0, 5.0], 16)))
        q, k, v = g.node("Split", both, g.constant([16, 16, 16], np.int64), outputs=3, axis=2)
    else:
        q, k = (g.linear(x, 16, 16) for _ in range(2))
        v = g.node("Add", g.node("MatMul", x, g.weight(16, 16)), shift)
    rows = 16 // groups
    parts = [[t] if groups == 1 else g.node("Split", t, outputs=groups, axis=1) for t in (q, k, v)]
    contexts = []
    for a, b, c in zip(*parts, strict=True):
        a, c = (g.heads(t, rows, 2, 8, (0, 2, 1, 3)) for t in (a, c))
        weights = g.node("Softmax", g.node("MatMul", a, g.heads(b, rows, 2, 8, (0, 2, 3, 1))), axis=axis)
        merged = g.node("Transpose", g.node("MatMul", weights, c), perm=[0, 2, 1, 3])
        contexts.append(g.reshape(merged, [1, rows, width]))
    context = contexts[0] if groups == 1 else g.node("Concat", *contexts, axis=1)
    if gemm:
        out = g.node("Gemm", g.reshape(context, [16, 16]), g.weight(12, 16), g.vector(12), transB=1, alpha=0.5)
    else:
        out = g.linear(context, width, width)
    others = {"values": v, "context": context}
    return g.model(out, *([g.node("Relu", others[reader])] if reader else []))


def values(model: ir.Model) -> np.ndarray:
    """The second operand of the context's product."""
    context = next(n for n in model.graph if n.op_type == "MatMul" and producer(n.inputs[0], "Softmax"))
    model, name = model.clone(), context.inputs[1].name
    model.graph.outputs.append(next(v for n in model.graph for v in n.outputs if v.name == name))
    return run_model(model, sample(model), threads=1)[name]


@pytest.mark.parametrize(
    "form", [{}, {"groups": 4}, {"fused": True}, {"gemm": True}], ids=["plain", "groups of rows", "fused", "gemm"]
)
def test_what_all_values_have_in_common_goes_around_attention(form: dict[str, bool]) -> None:
    model = attention(**form)
    run = alone(model, "centre-values")  # proves equality on other samples
    assert [a.rule for a in run.applied] == ["centre-values"]
    assert values(model).mean() > 4
    assert np.abs(values(run.model)).mean() < 2


def test_queries_and_keys_of_the_same_layer_stay() -> None:
    model = attention(fused=True)
    layer = next(n for n in alone(model, "centre-values").model.graph if n.op_type == "Add")
    bias = constant_of(layer.inputs[1])
    np.testing.assert_array_equal(bias[:32], np.repeat([1.0, 2.0], 16))
    assert np.all(np.abs(bias[32:]) < 4)


@pytest.mark.parametrize("form", [{"reader": "values"}, {"reader": "context"}, {"axis": 2}])
def test_values_that_something_else_reads_or_that_are_not_averaged_stay(form: dict[str, str]) -> None:
    assert not alone(attention(**form), "centre-values").applied
