"""Factors of channels: whatever positive factors the map leaves free, each tensor is what it was over its factors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization.equalization.channel_map import ChannelMap, map_channels
from n6convert.quantization.prepare.operator_forms import constant, set_constant
from n6convert.runtime.session import run_model
from tests.onnx_text import Array, drawn, parsed

DRAW = np.random.default_rng(5)


def _draw(*shape: int) -> Array:
    return DRAW.standard_normal(shape).astype(np.float32)


def _free(found: ChannelMap) -> int:
    """How many factors may be chosen."""
    roots = np.abs(found.labels.find(np.arange(1, found.labels.size)))
    return len(np.unique(roots[roots != 0]))


def _holds(model: ir.Model, shapes: dict[str, list[int]]) -> int:
    """Draws a factor for every free label, lets the constants absorb it, compares every tensor; how many were free."""
    feeds = drawn(shapes)
    values = [v for n in model.graph for v in n.outputs]
    model.graph.outputs.extend(v for v in values if v not in model.graph.outputs)
    found = _map(model, {v.name for v in values})
    before = run_model(model, feeds)
    factors = 2.0 ** DRAW.integers(-3, 4, found.labels.size)

    def scale(labels: np.ndarray) -> np.ndarray:
        roots = found.labels.find(labels)
        result: np.ndarray = np.where(roots == 0, 1.0, factors[np.abs(roots)] ** np.sign(roots))
        return result

    for absorber in found.absorbers:
        changed = constant(absorber.value) * scale(absorber.labels) ** absorber.power
        assert changed.shape == constant(absorber.value).shape
        set_constant(absorber.value, changed.astype(np.float32))
    after = run_model(model, feeds)
    for value in values:
        expected = before[str(value.name)] / scale(found.of(value))
        room = 1e-4 * max(1.0, float(np.abs(expected).max(initial=0)))
        np.testing.assert_allclose(after[str(value.name)], expected, rtol=1e-4, atol=room, err_msg=str(value.name))
    return _free(found)


def _map(model: ir.Model, kept: set[str | None]) -> ChannelMap:
    """Only ``y`` is an output of the network: the others are looked at."""
    held = list(model.graph.outputs)
    del model.graph.outputs[:]
    model.graph.outputs.extend(v for v in held if str(v.name).startswith("y"))
    found = map_channels(model.graph)
    del model.graph.outputs[:]
    model.graph.outputs.extend(held)
    return found


@pytest.mark.parametrize(
    ("body", "channels", "free"),
    [
        ("z = Relu(a)", 4, 4),
        ("z = LeakyRelu<alpha: float = 0.1>(a)", 4, 4),
        ("z = PRelu(a, slopes)", 4, 4),
        ("z = Neg(a)", 4, 4),
        # not homogeneous
        ("z = Sigmoid(a)", 4, 0),
        ("z = HardSwish(a)", 4, 0),
        ("z = Abs(a)", 4, 0),  # would commute; nobody told the map
        # sums tie operands; constants take the factor
        ("z = Add(a, a)", 4, 4),
        ("z = Add(a, x4)", 4, 0),
        ("c = Conv(x, w2) z = Add(a, c)", 4, 4),
        ("c = Conv(x, w2) z = Sub(a, c)", 4, 4),
        ("z = Sub(by_channel, a)", 4, 4),
        ("z = Add(a, number)", 4, 1),
        ("z = Add(a, nothing)", 4, 4),
        ("z = Add(a, whole)", 4, 4),
        ("z = Add(a, by_column)", 4, 1),
        # products: one operand cancels the other, a vector separates what is before from what is behind
        ("z = Mul(a, a)", 4, 0),
        ("c = Conv(x, w2) z = Mul(a, c)", 4, 4),
        ("s = Sigmoid(a) z = Mul(a, s)", 4, 0),
        ("c = Conv(x, w2) s = Sigmoid(c) z = Mul(a, s)", 4, 4),
        ("z = Mul(a, by_channel)", 4, 8),
        ("z = Mul(by_channel, a)", 4, 8),
        ("z = Mul(a, whole)", 4, 4),
        ("z = Mul(a, number)", 4, 4),
        ("z = Div(a, by_channel)", 4, 4),
        ("z = Div(by_channel, a)", 4, 0),
        ("c = Conv(x, w2) z = Div(a, c)", 4, 0),
        # windows
        ("z = MaxPool<kernel_shape = [2, 2]>(a)", 4, 4),
        ("z = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a)", 4, 4),
        ("z = GlobalAveragePool(a)", 4, 4),
        ("z = GlobalMaxPool(a)", 4, 4),
        ("z = Pad(a, wide)", 4, 4),
        ("z = Pad(a, wide, half)", 4, 0),
        ("z = Pad(a, deeper)", 6, 0),
        ('z = Pad<mode: string = "reflect">(a, wide)', 4, 4),
        ('z = Resize<mode: string = "linear">(a, , twice)', 4, 4),
        ("z = ReduceMean<axes = [2, 3]>(a)", 4, 4),
        ("z = ReduceMax<axes = [-1]>(a)", 4, 4),
        ("z = ReduceMean<axes = [1]>(a)", 1, 1),
        ("z = ReduceSum(a)", 1, 0),
        # moves
        ("z = Concat<axis = 1>(a, a)", 8, 4),
        ("c = Conv(x, w2) z = Concat<axis = 1>(a, c)", 8, 8),
        ("c = Conv(x, w2) z = Concat<axis = -1>(a, c)", 4, 4),
        ("z = Concat<axis = 1>(a, whole)", 8, 0),
        # one tap without bias leaves each place its factor, one for all of its channels
        (
            "c = Conv(x, w2) k = Concat<axis = -1>(a, c) q = Conv(k, point) "
            "p, r = Split<axis: int = -1>(q, sixes) z = Concat<axis = 1>(p, r)",
            8,
            2,
        ),
        ("p, q = Split<axis: int = 1>(a, halves) z = Add(p, q)", 2, 2),
        ("p, q = Split<axis: int = -1>(a, thirds) z = Concat<axis = 2>(p, q)", 4, 4),
        ("z = Slice(a, one, three, axis1)", 2, 4),
        ("z = Slice(a, one, far, axis1, steps2)", 2, 4),
        ("z = Slice(a, minus1, least, axis1, minus1)", 4, 0),
        ("z = Slice(a, one, three, minus1)", 4, 4),
        ("t = Transpose<perm = [0, 2, 1, 3]>(a) z = Transpose<perm = [0, 2, 1, 3]>(t)", 4, 4),
        ("t = Transpose<perm = [0, 2, 1, 3]>(a) r = Relu(t) z = Transpose<perm = [0, 2, 1, 3]>(r)", 4, 4),
        ("t = Reshape(a, pairs) z = Reshape(t, back)", 4, 4),
        ("f = Flatten(a) z = Reshape(f, back)", 4, 4),
        # convolutions
        ("z = Conv<group = 4>(a, each)", 4, 8),
        ("z = Conv<group = 2>(a, by_pairs)", 6, 10),
        ("z = ConvTranspose(a, upward)", 3, 7),
        ("z = ConvTranspose<group = 2>(a, up_pairs, bias6)", 6, 10),
        ("z = Conv(a, w2, c2) ", 4, 8),
        ("z = Conv(a, moving)", 4, 0),
        ("z = Clip(a, zero, six)", 4, 0),
        ("z = Clip(a, minus, six)", 4, 0),
    ],
)
def test_between_two_convolutions_every_free_factor_cancels(body: str, channels: int, free: int) -> None:
    last = _draw(3, channels, 1, 1)
    if "moving" in body:
        body = f"moving = Reshape(m, shape_of_w) {body}"
    known = {
        "w": _draw(4, 3, 3, 3),
        "b": _draw(4),
        "w2": _draw(4, 3, 3, 3) if "Conv(x, w2)" in body else _draw(4, 4, 3, 3),
        "c2": _draw(4),
        "c3": _draw(3),
        "point": _draw(4, 4, 1, 1),
        "sixes": np.array([6, 6]),
        "last": last,
        "slopes": _draw(4, 1, 1),
        "by_channel": _draw(1, 4, 1, 1) + 3,
        "by_column": _draw(6),
        "whole": _draw(1, 4, 6, 6),
        "number": np.float32(0.7),
        "nothing": np.zeros(1, np.float32),
        "zero": np.float32(0),
        "minus": np.float32(-1),
        "six": np.float32(0.6),
        "half": np.float32(0.5),
        "wide": np.array([0, 0, 1, 1, 0, 0, 2, 1]),
        "deeper": np.array([0, 1, 0, 0, 0, 1, 0, 0]),
        "twice": np.array([1, 1, 2, 2], np.float32),
        "halves": np.array([2, 2]),
        "thirds": np.array([3, 3]),
        "one": np.array([1]),
        "three": np.array([3]),
        "far": np.array([2**63 - 1]),
        "least": np.array([-(2**63)]),
        "minus1": np.array([-1]),
        "axis1": np.array([1]),
        "steps2": np.array([2]),
        "pairs": np.array([1, 2, 2, 36]),
        "back": np.array([1, 4, 6, 6]),
        "each": _draw(4, 1, 3, 3),
        "by_pairs": _draw(6, 2, 1, 3),
        "upward": _draw(4, 3, 2, 2),
        "up_pairs": _draw(4, 3, 2, 2),
        "bias6": _draw(6),
        "shape_of_w": np.array([4, 4, 1, 1]),
    }
    whole = f"a = Conv<pads = [1, 1, 1, 1]>(x, w, b) {_padded(body)} y = Conv(z, last, c3)"
    shapes = {"x": [1, 3, 6, 6]}
    inputs = "float[1,3,6,6] x"
    for name, shape in (("x4", [1, 4, 6, 6]), ("m", [16])):
        if f"({name}," in whole or f", {name})" in whole:
            shapes[name], inputs = shape, f"{inputs}, float[{','.join(map(str, shape))}] {name}"
    used: dict[str, Any] = {k: v for k, v in known.items() if f"{k}," in whole or f"{k})" in whole}
    assert _holds(parsed(whole, inputs, "float[] y", **used), shapes) == free


def _padded(body: str) -> str:
    return body.replace("Conv(x, w2)", "Conv<pads = [1, 1, 1, 1]>(x, w2)")


@pytest.mark.parametrize(
    ("body", "constants", "free"),
    [
        # x [2, 3, 5] -> a [2, 3, 4]
        ("y = MatMul(a, v)", {"v": _draw(4, 6)}, 4),
        ("s = Add(a, c) y = MatMul(s, v)", {"c": _draw(4), "v": _draw(4, 6)}, 4),
        ("s = Add(a, c) y = MatMul(s, v)", {"c": _draw(3, 4), "v": _draw(4, 6)}, 4),
        ("s = Add(a, c) y = MatMul(s, v)", {"c": _draw(3, 1), "v": _draw(4, 6)}, 1),
        ("b = MatMul(x, w2) t = Transpose<perm = [0, 2, 1]>(b) y = MatMul(a, t)", {"w2": _draw(5, 4)}, 4),
        (
            "b = MatMul(x, w2) t = Transpose<perm = [0, 2, 1]>(b) s = Softmax(t) y = MatMul(s, a)",
            {"w2": _draw(5, 4)},
            0,
        ),
        ("q = MatMul(s1, a) y = MatMul(q, v)", {"s1": _draw(3, 3), "v": _draw(4, 6)}, 0),
        ("s = Softmax(g) q = MatMul(s, a) y = MatMul(q, v)", {"v": _draw(4, 6)}, 4),
        ("r = Reshape(a, two) p = Gemm(r, v, c) y = Relu(p)", {"two": [6, 4], "v": _draw(4, 6), "c": _draw(6)}, 4),
        (
            "r = Reshape(a, two) p = Gemm<transB = 1, alpha = 0.5>(r, v, c) y = Gemm(p, u)",
            {"two": [6, 4], "v": _draw(6, 4), "c": _draw(6), "u": _draw(6, 2)},
            10,
        ),
        ("r = Reshape(a, two) y = Gemm<transA = 1>(r, v)", {"two": [6, 4], "v": _draw(6, 2)}, 0),
        ("e = Gather(table, i) s = Add(a, e) y = MatMul(s, v)", {"table": _draw(7, 4), "v": _draw(4, 6)}, 4),
        (
            "e = Gather<axis = 1>(table, j) s = Add(a, e) y = MatMul(s, v)",
            {"table": _draw(3, 7), "j": [0, 3, 2, 1], "v": _draw(4, 6)},
            0,
        ),
        ("u = Unsqueeze(a, last) q = Squeeze(u, last) y = MatMul(q, v)", {"last": [-1], "v": _draw(4, 6)}, 4),
    ],
)
def test_the_same_of_sequences(body: str, constants: dict[str, Array | list[int]], free: int) -> None:
    known: dict[str, Any] = {"w": _draw(5, 4)} | {k: np.asarray(v) for k, v in constants.items()}
    shapes = {"x": [2, 3, 5], "g": [2, 3, 3]}
    lookup = "i = Constant<value_ints = [0, 3, 2]>()"
    model = parsed(f"a = MatMul(x, w) {lookup} {body}", "float[2,3,5] x, float[2,3,3] g", "float[] y", **known)
    assert _holds(model, shapes) == free
