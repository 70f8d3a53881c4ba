from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, sample, software

RULE = "reduction-forms"
OPS = ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp")


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[1], [-1], [2, 3], [1, 2, 3]])
def test_the_same_numbers(op: str, keepdims: int, axes: list[int]) -> None:
    g = GraphWriter()
    y = g.node(op, g.input("x", [1, 6, 4, 5]), axes=axes, keepdims=keepdims)
    assert op not in ops(apply(g.model(y), RULE).model)


def test_the_logarithm_of_a_sum() -> None:
    g = GraphWriter()
    positive = g.node("Abs", g.input("x", [1, 6, 4]))
    result = apply(g.model(g.node("ReduceLogSum", positive, axes=[1])), RULE)
    assert {"ReduceSum", "Log"} <= ops(result.model).keys()


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [1, -1])
def test_a_normalization_is_a_quotient(p: int, axis: int) -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("LpNormalization", g.input("x", [1, 6, 4]), axis=axis, p=p)), RULE)
    assert "LpNormalization" not in ops(result.model)


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceSumSquare"])
def test_no_part_of_a_norm_runs_on_the_cpu(op: str, target: str) -> None:
    g = GraphWriter()
    model = g.model(g.node(op, g.input("x", [1, 6, 8, 5]), axes=[2, 3], keepdims=1))
    assert software(model, target)
    assert not software(rewrite(model, None, RewriteConfig(), target=target).model, target)


@pytest.mark.parametrize("exporter", ["torch", "one operator"])
def test_an_embedding_of_length_one_stays_on_the_npu(exporter: str) -> None:
    """``F.normalize`` and ``tf.math.l2_normalize`` behind a layer."""
    g = GraphWriter()
    h = g.linear(g.input("x", [1, 32]), 32, 24)
    if exporter == "torch":
        length = g.node("Clip", g.node("ReduceL2", h, axes=[1], keepdims=1), g.constant(1e-12))
        y = g.node("Div", h, g.node("Expand", length, g.constant([1, 24], np.int64)))
    else:
        y = g.node("LpNormalization", h, axis=1, p=2)
    model = g.model(y)
    samples = [sample(model, seed) for seed in range(4)]
    result = rewrite(model, lambda: samples, RewriteConfig(), target=NEW)
    assert not software(result.model, NEW)
