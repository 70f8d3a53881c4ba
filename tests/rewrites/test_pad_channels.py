from __future__ import annotations

import numpy as np
import pytest

from n6convert.graph.query import shape_of
from n6convert.npu import estimate
from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, reasons


def conv(g: GraphWriter, x: str, into: int, out: int, kernel: int = 3, groups: int = 1) -> str:
    pads = [kernel // 2] * 4
    return str(g.node("Conv", x, g.weight(out, into // groups, kernel, kernel), g.vector(out), pads=pads, group=groups))


def awkward(channels: int = 53):
    """A bottleneck with a depthwise convolution, a squeeze, a residual, constants per channel and a pool."""
    g = GraphWriter()
    x = conv(g, g.input("x", [1, 16, 28, 28]), 16, channels)
    y = g.node("Relu", conv(g, x, channels, channels, groups=channels))
    y = g.node("Mul", y, g.node("Sigmoid", conv(g, g.node("GlobalAveragePool", y), channels, channels, 1)))
    x = g.node("Add", g.node("PRelu", conv(g, y, channels, channels, 1), g.constant([[[0.2]]] * channels)), x)
    x = g.node("Mul", x, g.constant([[[1.5]]] * channels))
    pooled = g.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    return g.model(conv(g, pooled, channels, 24, 1))


@pytest.mark.parametrize("target", [OLD, NEW])
def test_every_channel_is_followed_and_time_falls(target: str) -> None:
    model = awkward()
    result = rewrite(model, None, RewriteConfig(rules=["pad-channels"]), target=target, threads=1)
    assert {shape_of(v)[1] for n in result.model.graph for v in n.outputs} == {56, 24}
    assert result.after < 0.7 * result.before
    assert estimate(result.model, target, assume_quantized=True).placement.epochs.sw == 0


def test_exact() -> None:
    assert apply(awkward(21), "pad-channels").applied


def test_round_numbers_and_outputs_stay() -> None:
    assert not apply(awkward(24), "pad-channels").applied
    g = GraphWriter()
    assert not apply(g.model(conv(g, g.input("x", [1, 8, 4, 4]), 8, 5)), "pad-channels").applied


def test_a_join_in_between_stays() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 8, 4, 4])
    model = g.model(conv(g, g.node("Concat", conv(g, x, 8, 5), conv(g, x, 8, 3), axis=1), 8, 8))
    assert not apply(model, "pad-channels").applied


def test_refused_with_both_figures_where_it_does_not_pay() -> None:
    g = GraphWriter()
    model = g.model(conv(g, conv(g, g.input("x", [1, 8, 4, 4]), 8, 5), 5, 8))
    weights = lambda m: float(sum(np.prod(shape_of(v)) for v in m.graph.initializers.values()))  # noqa: E731
    result = rewrite(model, None, RewriteConfig(rules=["pad-channels"]), estimator=weights, threads=1)
    assert "5 channels are predicted at" in reasons(result, "pad-channels")
