"""Patches as the exporter writes them, at every small size: the rewritten graph computes the same without batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from n6convert_mobilevit.patches import write_patches

from n6convert.errors import GraphError
from n6convert.runtime.session import run_model
from tests.onnx_text import drawn, parsed


def _exported(
    channels: int,
    heads: int,
    height: int,
    width: int,
    scale: str = "Div",
    attend: bool = True,
    change: tuple[str, str] = ("", ""),
) -> ir.Model:
    """A 1x1 convolution, its patches ``[4, n, C]``, attention, a way back and a convolution behind it."""
    random = np.random.default_rng(channels + height)
    n, each = height * width // 4, channels // heads
    constants: dict[str, Any] = {
        "w": random.standard_normal((channels, 3, 1, 1)),
        "b": random.standard_normal(channels),
        "last": random.standard_normal((2, channels, 3, 3)),
        **{k: random.standard_normal((channels, channels)) * 0.3 for k in ("wq", "wk", "wv")},
        "root": np.float32(each**0.5 if scale == "Div" else each**-0.5),
        "rows_of_two": np.array([channels * height // 2, 2, width // 2, 2]),
        "pixels": np.array([1, channels, n, 4]),
        "tokens": np.array([4, n, channels]),
        "heads": np.array([4, n, heads, each]),
        "back": np.array([1, 4, n, channels]),
        "cells": np.array([channels * height // 2, width // 2, 2, 2]),
        "image": np.array([1, channels, height, width]),
    }
    attention = f"""
        q0 = MatMul(t, wq) k0 = MatMul(t, wk) v0 = MatMul(t, wv)
        q1 = Reshape(q0, heads) k1 = Reshape(k0, heads) v1 = Reshape(v0, heads)
        q = Transpose<perm = [0, 2, 1, 3]>(q1) k = Transpose<perm = [0, 2, 3, 1]>(k1)
        v = Transpose<perm = [0, 2, 1, 3]>(v1)
        s = MatMul(q, k) d = {scale}(s, root) p = Softmax<axis = -1>(d) c = MatMul(p, v)
        c1 = Transpose<perm = [0, 2, 1, 3]>(c) c2 = Reshape(c1, tokens) o = Add(c2, t)"""
    body = f"""
        a = Conv(x, w, b)
        u1 = Reshape(a, rows_of_two) u2 = Transpose<perm = [0, 2, 1, 3]>(u1) u3 = Reshape(u2, pixels)
        u4 = Transpose<perm = [0, 3, 2, 1]>(u3) t = Reshape(u4, tokens)
        {attention if attend else "o = Relu(t)"}
        f1 = Reshape(o, back) f2 = Transpose<perm = [0, 3, 2, 1]>(f1) f3 = Reshape(f2, cells)
        f4 = Transpose<perm = [0, 2, 1, 3]>(f3) f = Reshape(f4, image)
        y = Conv<pads = [1, 1, 1, 1]>(f, last)"""
    return parsed(body.replace(*change), f"float[1,3,{height},{width}] x", "float[] y", **constants)


def _copy(model: ir.Model) -> ir.Model:
    return ir.from_proto(ir.to_proto(model))


@pytest.mark.parametrize("scale", ["Div", "Mul"])
@pytest.mark.parametrize(
    ("channels", "heads", "height", "width"), [(4, 1, 2, 2), (4, 2, 4, 4), (6, 3, 4, 6), (8, 4, 6, 2), (5, 5, 2, 8)]
)
def test_the_rewritten_graph_computes_the_same(channels: int, heads: int, height: int, width: int, scale: str) -> None:
    model = _exported(channels, heads, height, width, scale)
    feeds = drawn({"x": [1, 3, height, width]}, seed=1)
    expected = run_model(_copy(model), feeds)["y"]
    found = write_patches(model)
    np.testing.assert_allclose(run_model(found, feeds)["y"], expected, rtol=1e-4, atol=1e-5)


def test_nothing_is_left_that_the_npu_would_run_in_software() -> None:
    model = write_patches(_exported(8, 2, 6, 4))
    shapes = [list(v.shape or ()) for n in model.graph for v in n.outputs]
    assert all(len(s) <= 4 and (not s or s[0] == 1) for s in shapes)
    assert all(list(n.attributes.get_ints("perm", [])) in ([0, 2, 1], [0, 2, 1, 3], [0, 2, 3, 1])
               for n in model.graph if n.op_type == "Transpose")  # fmt: skip
    kinds = [n.op_type for n in model.graph]
    assert kinds.count("Softmax") == 4
    assert kinds.count("DepthToSpace") == 1
    readers = [n.outputs[0].name for n in model.graph if n.inputs[1:] and n.inputs[1] and n.inputs[1].name == "w"]
    assert len(readers) == 4, "the groups share one set of weights"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("d = Div(s, root)", "d = Add(s, root)"),
        ("p = Softmax<axis = -1>(d)", "e = Neg(d) p = Softmax<axis = -1>(e)"),
        ("k1 = Reshape(k0, heads)", "k3 = Relu(k0) k2 = Concat<axis = 0>(k3) k1 = Reshape(k2, heads)"),
    ],
)
def test_an_attention_of_another_form_is_either_refused_or_computed_rightly(before: str, after: str) -> None:
    model = _exported(4, 2, 4, 4, change=(before, after))
    feeds = drawn({"x": [1, 3, 4, 4]})
    expected = run_model(_copy(model), feeds)["y"]
    try:
        found = write_patches(model)
    except GraphError as error:
        assert "unknown form" in str(error)
    else:
        np.testing.assert_allclose(run_model(found, feeds)["y"], expected, rtol=1e-4, atol=1e-5)
