"""What a Slice throws away is not computed, and what somebody else reads stays whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.graph.query import shape_of
from n6convert.npu import estimate
from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, sample, software

RULE = "cut-before-work"


def cut(g: GraphWriter, x: str, start: int, stop: int, axis: int) -> str:
    ends = [g.constant([v], np.int64) for v in (start, stop, axis)]
    return str(g.node("Slice", x, *ends))


def classifier(layers: int = 2, rows: int = 16, width: int = 32, heads: int = 4) -> ir.Model:
    """A post-norm encoder of which a classifier reads the first token."""
    g = GraphWriter()
    x = g.input("x", [1, rows, width])
    for _ in range(layers):
        x = g.layernorm(g.node("Add", g.attention(x, rows, width, heads), x), width)
        hidden = g.gelu(g.linear(x, width, 2 * width))
        x = g.layernorm(g.node("Add", g.linear(hidden, 2 * width, width), x), width)
    return g.model(g.node("Gemm", g.reshape(cut(g, x, 0, 1, 1), [1, width]), g.weight(width, 3)))


def sizes(model: ir.Model, op: str) -> list[int]:
    """Elements that nodes of a kind make."""
    return sorted(int(np.prod(shape_of(n.outputs[0]) or ())) for n in model.graph if n.op_type == op)


@pytest.mark.parametrize("target", [OLD, NEW])
def test_the_last_layer_computes_the_token_that_is_read(target: str) -> None:
    model = classifier()
    result = apply(model, RULE, target=target)
    assert [a.rule for a in result.applied].count(RULE) == 1
    softmax = sizes(result.model, "Softmax")
    assert softmax == [4 * 1 * 16, 4 * 16 * 16], "queries of the last layer are one row, its keys all of them"
    assert sizes(result.model, "Erf") == [64, 16 * 64]
    assert ops(result.model)["MatMul"] == ops(model)["MatMul"]


def test_half_of_a_small_classifiers_time_is_gone_and_nothing_is_left_on_the_cpu() -> None:
    model = classifier(layers=2, rows=64, width=64)
    feeds = sample(model)
    whole, part = (
        rewrite(model, lambda: [feeds], RewriteConfig(exclude=without), target=OLD, threads=1)
        for without in ([RULE], [])
    )
    assert whole.after is not None and part.after is not None and part.after < 0.75 * whole.after
    assert part.gains[RULE] > 0 and not software(part.model, OLD)
    assert estimate(part.model, OLD, assume_quantized=True).placement.offload == 1


def turned(g: GraphWriter, x: str) -> str:
    return str(g.node("Transpose", x, perm=[0, 2, 1]))


STEPS: dict[str, Any] = {
    "broadcast": lambda g, x: g.node("Add", x, g.constant(np.arange(1.0, 7.0)[:, None])),
    "linear": lambda g, x: g.linear(x, 8, 5),
    "norm": lambda g, x: g.layernorm(x, 8),
    "LayerNormalization": lambda g, x: g.node("LayerNormalization", x, g.vector(8, 1.0), axis=-1),
    "softmax": lambda g, x: g.node("Softmax", x, axis=-1),
    "products": lambda g, x: g.node("MatMul", x, turned(g, x)),
    "layout": lambda g, x: g.node("Relu", g.reshape(g.node("Relu", x), [1, 6, 2, 4])),
    "turned": lambda g, x: turned(g, g.node("Softmax", turned(g, x), axis=1)),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("start", "stop"), [(0, 1), (2, 5), (-1, 100)])
def test_row_by_row_steps_are_cut_exactly(name: str, start: int, stop: int) -> None:
    g = GraphWriter()
    result = apply(g.model(cut(g, STEPS[name](g, g.input("x", [1, 6, 8])), start, stop, 1)), RULE)
    assert [a.rule for a in result.applied].count(RULE) == 1
    last = next(iter(result.model.graph.outputs)).producer()
    assert last is not None and last.op_type not in ("Slice", "Identity")


def test_heads_are_cut_in_both_operands() -> None:
    g = GraphWriter()
    product = g.node("MatMul", g.input("x", [1, 4, 6, 8]), g.input("y", [1, 4, 8, 6]))
    result = apply(g.model(cut(g, product, 1, 3, 1)), RULE)
    assert sizes(result.model, "Slice") == [2 * 48, 2 * 48] and sizes(result.model, "MatMul") == [2 * 36]


def test_pointwise_convolutions_are_cut_and_others_are_not() -> None:
    for kernel, times in ((1, 1), (3, 0)):
        g = GraphWriter()
        x = g.node("Conv", g.input("x", [1, 3, 8, 8]), g.weight(4, 3, kernel, kernel), pads=[kernel // 2] * 4)
        result = apply(g.model(cut(g, x, 0, 4, 2)), RULE)
        assert [a.rule for a in result.applied].count(RULE) == times


def test_two_equal_cuts_share_what_they_need() -> None:
    g = GraphWriter()
    y = g.linear(g.input("x", [1, 6, 8]), 8, 5)
    both = g.node("Add", cut(g, y, 0, 1, 1), g.node("Relu", cut(g, y, 0, 1, 1)))
    result = apply(g.model(both), RULE)
    assert ops(result.model)["MatMul"] == 1 and ops(result.model)["Slice"] == 1


def test_what_somebody_else_reads_stays_whole() -> None:
    g = GraphWriter()
    hidden = g.linear(g.input("x", [1, 6, 8]), 8, 8)
    for others in ([g.node("ReduceMean", hidden, axes=[1])], [hidden], [cut(g, hidden, 1, 2, 1)]):
        writer = GraphWriter()
        writer.__dict__.update(g.__dict__ | {"nodes": list(g.nodes)})
        result = apply(writer.model(cut(writer, hidden, 0, 1, 1), *others), RULE)
        assert RULE not in {a.rule for a in result.applied}


@pytest.mark.parametrize("axis", [1, 2])
def test_what_mixes_the_cut_axis_is_not_cut(axis: int) -> None:
    g = GraphWriter()
    mixed = g.node("Softmax", g.input("x", [1, 6, 8]), axis=axis)
    assert RULE not in {a.rule for a in apply(g.model(cut(g, mixed, 0, 1, axis)), RULE).applied}


def test_layout_alone_is_left_to_other_rules() -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 6, 8]), perm=[0, 2, 1])
    assert RULE not in {a.rule for a in apply(g.model(cut(g, turned, 0, 1, 1)), RULE).applied}
