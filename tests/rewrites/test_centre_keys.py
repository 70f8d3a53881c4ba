from __future__ import annotations

import numpy as np

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import apply, sample


def biased(shift: float):
    """One attention block whose keys have a large common part; the scores are an output as well."""
    g = GraphWriter()
    x = g.input("x", [1, 8, 16])
    q, k, v = (g.linear(x, 16, 16) for _ in range(3))
    k = g.node("Add", g.node("MatMul", x, g.weight(16, 16)), g.constant(np.full(16, shift)))
    q, v = (g.heads(t, 8, 2, 8, (0, 2, 1, 3)) for t in (q, v))
    k = g.heads(k, 8, 2, 8, (0, 2, 3, 1))
    weights = g.node("Softmax", g.node("MatMul", q, g.node("Mul", k, g.constant(0.35))), axis=-1)
    return g.model(g.node("MatMul", weights, v))


def keys(model, feeds):
    """What the second operand of the scores' product holds."""
    scores = next(n for n in model.graph if n.op_type == "MatMul" and n.outputs[0].consumers()[0].op_type == "Softmax")
    model = model.clone()
    value = next(v for n in model.graph for v in n.outputs if v.name == scores.inputs[1].name)
    model.graph.outputs.append(value)
    return run_model(model, feeds, threads=1)[value.name]


def test_what_all_keys_have_in_common_goes() -> None:
    model = biased(5.0)
    result = apply(model, "centre-keys")  # proves equality on other samples
    assert [a.rule for a in result.applied].count("centre-keys") == 1
    feeds = sample(model)
    assert abs(keys(model, feeds).mean()) > 1
    assert np.abs(keys(result.model, feeds).mean(axis=-1)).max() < 0.01


def test_values_stay() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 8, 16])
    value = g.node("Add", g.node("MatMul", x, g.weight(16, 16)), g.constant(np.full(16, 3.0)))
    scores = g.node("Softmax", g.node("MatMul", x, g.node("Transpose", x, perm=[0, 2, 1])), axis=-1)
    assert "centre-keys" not in {a.rule for a in apply(g.model(g.node("MatMul", scores, value)), "centre-keys").applied}


def test_softmax_over_the_queries_sees_the_keys() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 8, 16])
    key = g.node("Add", g.node("MatMul", x, g.weight(16, 16)), g.constant(np.full(16, 3.0)))
    product = g.node("MatMul", x, g.node("Transpose", key, perm=[0, 2, 1]))
    model = g.model(g.node("Softmax", product, axis=1))
    assert "centre-keys" not in {a.rule for a in apply(model, "centre-keys").applied}
