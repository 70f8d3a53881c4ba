"""The mean of a residual stream moves into what writes to it, and only where nobody sees it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.graph.query import constant_of
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, sample, software

RULES = ("layernorm-decompose", "linear-to-conv", "centring-into-weights", "transpose-by-slices")
RULE = "centring-into-weights"
D, S = 16, 6


def layer(g: GraphWriter, stream: str) -> str:
    """One pre-norm layer: what it adds to the stream."""
    return g.linear(g.node("Relu", g.linear(g.layernorm(stream, D), D, 2 * D)), 2 * D, D)


def pre_norm(layers: int = 3) -> ir.Model:
    g = GraphWriter()
    stream = g.node("Add", g.linear(g.input("x", [1, S, 8]), 8, D), g.constant(g.random.standard_normal((S, D))))
    for _ in range(layers):
        stream = g.node("Add", stream, layer(g, stream))
    return g.model(g.linear(g.layernorm(stream, D), D, 5))


def vision() -> ir.Model:
    """Patches by a strided convolution, a class token joined in front, the stream token by token."""
    g = GraphWriter()
    patches = g.node("Conv", g.input("x", [1, 3, 8, 8]), g.weight(D, 3, 4, 4), g.vector(D), strides=[4, 4])
    rows = g.node("Transpose", g.reshape(patches, [1, D, 4]), perm=[0, 2, 1])
    stream = g.node("Concat", g.constant(g.random.standard_normal((1, 1, D))), rows, axis=1)
    stream = g.node("Add", stream, g.constant(g.random.standard_normal((1, 5, D))))
    for _ in range(2):
        stream = g.node("Add", stream, layer(g, stream))
    return g.model(g.linear(g.layernorm(stream, D), D, 5))


def means(model: ir.Model) -> int:
    """Convolutions that take a mean over D channels of the stream itself: the variance's have a bias."""
    weights = [constant_of(n.inputs[1]) for n in model.graph if n.op_type == "Conv" and len(n.inputs) == 2]
    return sum(w is not None and w.size == D and np.allclose(w, 1 / D) for w in weights)


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(("make", "norms"), [(pre_norm, 4), (vision, 3)])
def test_all_norms_of_a_stream_lose_their_mean(make: Callable[[], ir.Model], norms: int, target: str) -> None:
    kept = apply(make(), *(r for r in RULES if r != RULE), target=target)
    result = apply(make(), *RULES, target=target)
    assert [a.rule for a in result.applied].count(RULE) == norms
    assert (means(kept.model), means(result.model)) == (norms, 0)
    assert ops(kept.model)["Sub"] - ops(result.model)["Sub"] == norms
    assert not software(result.model, target)


def test_int8_has_no_steps_to_spend_on_a_mean_that_nobody_reads() -> None:
    """A stream ten deviations away from zero, quantized by min and max with and without the rule."""
    g = GraphWriter()
    stream = g.node("Add", g.linear(g.input("x", [1, 32, 8]), 8, D), g.constant(np.full(D, 10.0)))
    model = g.model(g.layernorm(g.node("Add", stream, layer(g, stream)), D))
    feeds = [sample(model, seed) for seed in range(4)]
    kept, folded = (apply(model, *(r for r in RULES if r != without)).model for without in (RULE, ""))
    loss = {}
    for name, graph in (("kept", kept), ("folded", folded)):
        int8 = quantize(graph, lambda: feeds, QuantizationConfig(ranges="minmax", **QuantizationConfig.off())).model
        pairs = [[next(iter(run_model(m, f, threads=1).values())) for m in (model, int8)] for f in feeds]
        loss[name] = sqnr_db(*map(np.stack, zip(*pairs, strict=True)))
    assert loss["folded"] > loss["kept"] + 3


def other_reader(g: GraphWriter, stream: str) -> str:
    return str(g.node("Relu", stream))


def root_mean_square(g: GraphWriter, stream: str) -> str:
    mean = g.node("ReduceMean", g.node("Mul", stream, stream), axes=[-1])
    return str(g.node("Div", stream, g.node("Sqrt", g.node("Add", mean, g.constant(1e-5)))))


@pytest.mark.parametrize(
    ("read", "words"), [(other_reader, "Relu"), (root_mean_square, "Mul"), (lambda g, s: s, "output")]
)
def test_a_stream_that_somebody_else_reads_keeps_its_mean(read: Callable[[GraphWriter, str], str], words: str) -> None:
    g = GraphWriter()
    stream = g.linear(g.input("x", [1, S, 8]), 8, D)
    stream = g.node("Add", stream, layer(g, stream))
    model = g.model(g.layernorm(stream, D), read(g, stream))
    result = apply(model, *RULES)
    assert RULE not in {a.rule for a in result.applied}
    assert words in reasons(result, RULE)


def test_a_post_norm_layer_is_refused_by_name() -> None:
    g = GraphWriter()
    first = g.layernorm(g.linear(g.input("x", [1, S, 8]), 8, D), D)
    second = g.layernorm(g.node("Add", first, g.linear(first, D, D)), D)
    result = apply(g.model(second), *RULES)
    assert [a.rule for a in result.applied].count(RULE) == 1, "the norm behind the first layer alone"
    assert "has no weights that could take the mean out" in reasons(result, RULE)


def test_an_input_of_the_graph_is_refused() -> None:
    g = GraphWriter()
    stream = g.input("x", [1, S, D])
    result = apply(g.model(g.layernorm(g.node("Add", stream, layer(g, stream)), D)), *RULES)
    assert RULE not in {a.rule for a in result.applied}
    assert "input x comes into the stream" in reasons(result, RULE)


def test_parts_of_one_convolution_may_be_streams_of_their_own() -> None:
    g = GraphWriter()
    both = g.node("Conv", g.input("x", [1, 8, 4, 4]), g.weight(2 * D, 8, 1, 1), g.vector(2 * D))
    left, right = g.node("Split", both, g.constant([D, D], np.int64), outputs=2, axis=1)
    rows = g.node("Transpose", g.reshape(left, [1, D, 16]), perm=[0, 2, 1])
    result = apply(g.model(g.layernorm(rows, D), g.node("Relu", right)), *RULES)
    assert [a.rule for a in result.applied].count(RULE) == 1
