from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, ops, reasons, sample


def conv(g: GraphWriter, x: str, into: int, out: int, kernel: int, bias: bool = True, **given: Any) -> str:
    held = [g.weight(out, into, kernel, kernel), *([g.vector(out)] if bias else [])]
    return str(g.node("Conv", x, *held, **given))


def pick(g: GraphWriter, x: str, into: int, out: int, kernel: int, bias: bool = True, **given: Any) -> str:
    """A convolution every output of which is one input."""
    weight = np.zeros((out, into * kernel * kernel))
    weight[np.arange(out), g.random.integers(0, weight.shape[1], out)] = 1
    held = [g.constant(weight.reshape(out, into, kernel, kernel)), *([g.vector(out)] if bias else [])]
    return str(g.node("Conv", x, *held, **given))


def merged(model, **config: Any):  # type: ignore[no-untyped-def]
    few = lambda m: float(len(list(m.graph)))  # noqa: E731
    rules = RewriteConfig(rules=["merge-convs"])
    return rewrite(model, lambda: [sample(model)], rules, estimator=few, threads=1)


@pytest.mark.parametrize("second", [{}, {"strides": [2, 1]}])
@pytest.mark.parametrize("first", [{}, {"strides": [2, 2]}, {"strides": [1, 3], "pads": [1, 0, 2, 1]}])
@pytest.mark.parametrize("kernels", [(1, 3), (3, 1), (2, 3), (3, 3)])
def test_two_are_one(kernels: tuple[int, int], first: dict[str, Any], second: dict[str, Any]) -> None:
    g = GraphWriter()
    x = pick(g, g.input("x", [1, 3, 13, 14]), 3, 8, kernels[0], **first)
    result = merged(g.model(conv(g, x, 8, 5, kernels[1], **second)))
    assert ops(result.model) == {"Conv": 1}
    assert "1.000 ms instead of two 2.000 ms" in result.applied[0].because


def test_pads_behind_a_convolution_without_bias() -> None:
    g = GraphWriter()
    x = pick(g, g.input("x", [1, 3, 12, 12]), 3, 12, 2, bias=False, strides=[2, 2])
    assert ops(merged(g.model(conv(g, x, 12, 8, 3, pads=[1] * 4))).model) == {"Conv": 1}


def test_pads_behind_a_bias_another_reader_and_an_activation_stay() -> None:
    g = GraphWriter()
    x = pick(g, g.input("x", [1, 3, 12, 12]), 3, 8, 1)
    y = conv(g, x, 8, 8, 3, pads=[1] * 4)
    z = pick(g, g.node("Relu", y), 8, 8, 1)
    assert not merged(g.model(z, conv(g, z, 8, 4, 1), y)).applied


def test_two_dense_convolutions_stay() -> None:
    g = GraphWriter()
    assert not merged(g.model(conv(g, conv(g, g.input("x", [1, 3, 8, 8]), 3, 4, 1), 4, 8, 1))).applied


@pytest.mark.parametrize("target", [OLD, NEW])
def test_refused_with_both_figures_where_one_would_be_slower(target: str) -> None:
    g = GraphWriter()
    x = pick(g, g.input("x", [1, 3, 64, 64]), 3, 12, 2, bias=False, strides=[2, 2])
    result = rewrite(g.model(conv(g, x, 12, 64, 4)), None, RewriteConfig(), target=target, threads=1)
    assert "the two are predicted at" in reasons(result, "merge-convs")
