from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError
from n6convert.linter import Severity, lint
from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software

RULE = "depth-to-channels"


def conv3d(shape: list[int], weight: list[int], bias: bool = True, **attributes: Any) -> ir.Model:
    g = GraphWriter()
    given = [g.input("x", shape), g.weight(*weight)] + ([g.vector(weight[0])] if bias else [])
    return g.model(g.node("Conv", *given, kernel_shape=weight[2:], **attributes))


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ([1, 3, 1, 8, 8], [4, 3, 1, 3, 3], {"pads": [0, 1, 1, 0, 1, 1]}),  # depth 1, kernel depth 1
        ([1, 3, 1, 8, 8], [4, 3, 3, 3, 3], {"pads": [1, 1, 1, 1, 1, 1]}),  # depth 1, padded
        ([1, 3, 5, 8, 8], [4, 3, 5, 3, 3], {}),  # the kernel covers the depth
        ([1, 2, 4, 6, 6], [6, 2, 3, 3, 3], {"pads": [1, 1, 1, 1, 1, 1], "strides": [2, 2, 2]}),
        ([1, 4, 3, 6, 6], [4, 1, 3, 3, 3], {"pads": [1, 1, 1, 1, 1, 1], "group": 4}),  # depthwise
        ([1, 2, 6, 5, 7], [3, 2, 2, 2, 3], {"dilations": [2, 1, 2], "pads": [1, 0, 2, 2, 1, 1]}),
        ([1, 2, 3, 5, 7], [3, 2, 3, 2, 3], {"auto_pad": "SAME_UPPER", "strides": [1, 2, 2]}),
        ([1, 2, 3, 5, 6], [3, 2, 2, 2, 2], {"auto_pad": "SAME_LOWER"}),
    ],
)
def test_convolutions(shape: list[int], weight: list[int], attributes: dict[str, Any]) -> None:
    model = conv3d(shape, weight, **attributes)
    result = apply(model, RULE)
    assert len(result.model.graph.node(1).inputs[0].shape or ()) == 4
    assert any("3-D" in f.found for f in lint(model, NEW))
    assert not [f for f in lint(result.model, NEW) if f.rule == "conv-geometry"]


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]},
        {"kernel_shape": [3, 3, 3], "strides": [1, 2, 2], "pads": [1, 1, 1, 1, 1, 1]},
        {"kernel_shape": [1, 2, 2], "strides": [1, 2, 2], "ceil_mode": 1},
        {"kernel_shape": [4, 1, 1]},
        {"kernel_shape": [3, 2, 3], "pads": [1, 0, 1, 1, 1, 1], "count_include_pad": 1},
    ],
)
def test_pools(op: str, attributes: dict[str, Any]) -> None:
    if op == "MaxPool":
        attributes = {k: v for k, v in attributes.items() if k != "count_include_pad"}
    g = GraphWriter()
    model = g.model(g.node(op, g.input("x", [1, 3, 4, 7, 7]), **attributes))
    result = apply(model, RULE)
    assert all(len(n.inputs[0].shape or ()) == 4 for n in result.model.graph if n.op_type == op)
    assert not software(rewrite(model, None, RewriteConfig(), target=OLD).model, OLD)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(op: str) -> None:
    g = GraphWriter()
    assert ops(apply(g.model(g.node(op, g.input("x", [1, 3, 4, 5, 6]))), RULE).model)[op] == 1


@pytest.mark.parametrize("target", [OLD, NEW])
def test_a_network_over_frames_fits_the_npu(target: str) -> None:
    g = GraphWriter()
    x = g.reshape(g.input("x", [1, 12, 16, 16]), [1, 3, 4, 16, 16])
    y = g.node("Relu", g.node("Conv", x, g.weight(8, 3, 3, 3, 3), g.vector(8), pads=[1] * 6))
    y = g.node("MaxPool", y, kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    other = g.node("Conv", y, g.weight(8, 8, 1, 1, 1), g.vector(8))
    y = g.node("Add", g.node("Conv", y, g.weight(8, 8, 3, 3, 3), g.vector(8), pads=[1] * 6), other)
    y = g.node("Relu", g.node("Concat", y, other, axis=1))
    y = g.reshape(g.node("GlobalAveragePool", y), [1, 16])
    result = rewrite(g.model(g.node("Gemm", y, g.weight(16, 5))), None, RewriteConfig(), target=target)
    assert not software(result.model, target)
    assert not [f for f in lint(result.model, target) if f.severity is Severity.ERROR]
    assert all(len(v.shape or ()) <= 4 for n in result.model.graph for v in n.outputs)


@pytest.mark.parametrize("seed", range(3))
def test_any_geometry(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(6):
        groups = int(random.choice([1, 1, 2]))
        size = random.integers(3, 7, 3)
        kernel = [int(random.integers(1, min(3, n) + 1)) for n in size]
        pads = [int(p) for p in random.integers(0, 2, 6)]
        pads = [min(p, k - 1) for p, k in zip(pads, kernel * 2, strict=True)]
        strides, bias = [int(s) for s in random.integers(1, 3, 3)], bool(random.integers(2))
        shape, weight = [1, 2 * groups, *map(int, size)], [3 * groups, 2, *kernel]
        apply(conv3d(shape, weight, bias, strides=strides, pads=pads, group=groups), RULE)


def test_weights_that_would_fill_the_flash_are_refused() -> None:
    model = conv3d([1, 256, 16, 4, 4], [256, 256, 1, 3, 3], pads=[0, 1, 1, 0, 1, 1])
    why = "589,824 weights would become 150,994,944"
    assert why in reasons(apply(model, RULE), RULE)
    with pytest.raises(GraphError) as caught:
        rewrite(model, None, RewriteConfig(), target=NEW)
    assert why in str(caught.value.remedy)
