"""Nodes that a builder makes compute what numpy does, in the shape that they promise, at old and new operator sets."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import computed, drawn, made

from n6convert.errors import RewriteError
from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.runtime.session import run_model

SHAPES = [(1, 2, 3, 4), (1, 1, 5, 2), (2, 3, 4), (1, 6, 1, 1), (1, 3, 2, 2, 2)]


@pytest.mark.parametrize(("shape", "perm"), [(s, p) for s in SHAPES[:4] for p in itertools.permutations(range(len(s)))])
def test_any_transpose_is_that_of_numpy(shape: tuple[int, ...], perm: tuple[int, ...]) -> None:
    (found,), feeds = computed({"x": shape}, lambda b, x: b.unary("Relu", b.transpose(b.unary("Neg", x), perm)))
    np.testing.assert_array_equal(found, np.maximum(-feeds["x"], 0).transpose(perm))


def test_axes_of_one_element_cost_no_permutation() -> None:
    """(0, 2, 3, 1) of [1, 6, 1, 5] only moves a one: two blocks are left, which every core swaps, or none."""
    model, (y,) = made({"x": (1, 6, 1, 5)}, lambda b, x: b.transpose(x, [0, 2, 1, 3]))
    assert [n.op_type for n in model.graph] == ["Reshape"] and tuple(y.shape) == (1, 1, 6, 5)
    model, _ = made({"x": (1, 6, 1, 5)}, lambda b, x: b.transpose(x, [0, 3, 2, 1]))
    assert [n.attributes["perm"].value for n in model.graph if n.op_type == "Transpose"] == [(0, 2, 1)]


def test_what_changes_nothing_makes_no_node() -> None:
    model, (y,) = made({"x": (1, 2, 3)}, lambda b, x: b.reshape(b.transpose(x, [0, 1, 2]), [1, 2, 3]))
    assert not list(model.graph) and y is model.graph.inputs[0]


def test_constants_are_moved_ahead() -> None:
    table = np.arange(6, dtype=np.float32).reshape(2, 3)

    def write(b: Builder, x: ir.Value) -> ir.Value:
        return b.add(x, b.reshape(b.transpose(b.constant(table), [1, 0]), [1, 6]))

    (found,), feeds = computed({"x": (1, 6)}, write)
    np.testing.assert_array_equal(found, feeds["x"] + table.T.reshape(1, 6))
    assert [n.op_type for n in made({"x": (1, 6)}, write)[0].graph] == ["Add"]


def test_a_layout_that_is_there_is_used_again() -> None:
    """What the graph already has is found; only the builder's own nodes are not in it yet."""
    model, (y,) = made({"x": (2, 3, 4)}, lambda b, x: b.transpose(x, [2, 0, 1]))
    again = Builder(model.graph, "c", 17)
    assert again.transpose(model.graph.inputs[0], [2, 0, 1]) is y
    assert again.transpose(model.graph.inputs[0], [1, 2, 0]) is not y


@pytest.mark.parametrize(("first", "rest"), [(AXIS_LIMIT + 2, 3), (3, AXIS_LIMIT + 4), (7, 11)])
def test_a_swap_keeps_every_axis_below_the_limit(first: int, rest: int) -> None:
    """A side above 65,535 is taken as two axes; the result is the plain transpose all the same."""
    model, (y,) = made({"x": (1, first, rest)}, lambda b, x: b.swap(x, first, [1, rest, first]))
    feeds = drawn({"x": (1, first, rest)})
    np.testing.assert_array_equal(run_model(model, feeds)[str(y.name)], feeds["x"].transpose(0, 2, 1))
    (transposed,) = [n for n in model.graph if n.op_type == "Transpose"]
    assert max(transposed.inputs[0].shape) < AXIS_LIMIT and max(transposed.outputs[0].shape) < AXIS_LIMIT
    assert transposed.attributes["perm"].value in ((0, 2, 1), (0, 2, 3, 1), (0, 3, 1, 2)), "what hardware does"


@pytest.mark.parametrize(("shape", "axis"), [((1, 4, 5, 6), 1), ((1, 3, 8), 2), ((1, 2, 3, 4), 3), ((1, 7, 1), 2)])
def test_a_map_and_back(shape: tuple[int, ...], axis: int) -> None:
    def write(b: Builder, x: ir.Value) -> list[ir.Value]:
        as_map = b.unary("Relu", b.as_map(x, axis))
        return [as_map, b.unary("Neg", b.from_map(as_map, axis, shape))]

    (as_map, back), feeds = computed({"x": shape}, write)
    assert as_map.ndim == 4 and as_map.shape[1] == shape[axis]
    np.testing.assert_array_equal(as_map[0].reshape(shape[axis], -1),
                                  np.maximum(np.moveaxis(feeds["x"], axis, 0), 0).reshape(shape[axis], -1))  # fmt: skip
    np.testing.assert_array_equal(back, -np.maximum(feeds["x"], 0))


CONVS: list[dict[str, Any]] = [
    {},
    {"strides": [2, 3]},
    {"pads": [1, 0, 2, 1]},
    {"dilations": [2, 1], "pads": [2, 2, 0, 1]},
    {"strides": [3, 2], "pads": [0, 1, 1, 0], "dilations": [1, 3]},
    {"group": 2},
]


@pytest.mark.parametrize("attributes", CONVS)
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2), (2, 4)])
def test_the_size_of_a_convolution(kernel: tuple[int, int], attributes: dict[str, Any]) -> None:
    """onnxruntime refuses a graph whose declared shape is another; ``computed`` holds the promise against it."""
    weight = np.ones((4, 4 // attributes.get("group", 1), *kernel), np.float32)
    (found,), feeds = computed({"x": (1, 4, 11, 13)}, lambda b, x: b.conv(x, weight, np.ones(4), **attributes))
    assert found.shape[:2] == (1, 4)
    if not attributes:
        windows = np.lib.stride_tricks.sliding_window_view(feeds["x"], kernel, axis=(2, 3))
        np.testing.assert_allclose(found[0, 0], windows.sum((1, 4, 5))[0] + 1, rtol=1e-4, atol=1e-4)


def test_a_pointwise_product_is_a_matrix() -> None:
    matrix, bias = np.arange(6).reshape(2, 3), np.array([1.0, -1.0])
    (found,), feeds = computed({"x": (1, 3, 2, 2)}, lambda b, x: b.pointwise(x, matrix, bias))
    wanted = np.einsum("oi,bihw->bohw", matrix, feeds["x"]) + bias[:, None, None]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 4, 7, 8, 9, 16, 29])
@pytest.mark.parametrize("axis", [1, 2])
def test_long_joins_keep_the_order(count: int, axis: int) -> None:
    shapes = {f"x{i}": (1, 1 + i % 3, 2) if axis == 1 else (1, 2, 1 + i % 3) for i in range(count)}
    model, (y,) = made(shapes, lambda b, *xs: b.unary("Neg", b.concat(xs, axis)))
    feeds = drawn(shapes)
    np.testing.assert_array_equal(run_model(model, feeds)[str(y.name)], -np.concatenate(list(feeds.values()), axis))
    assert all(len(n.inputs) <= 7 for n in model.graph), "what the compiler has been seen to join in hardware"


@pytest.mark.parametrize("times", [1, 2, 3, 5, 7, 8, 11, 12, 13, 26, 64])
def test_repeats_by_joins_of_joins(times: int) -> None:
    (found,), feeds = computed({"x": (1, 2, 3)}, lambda b, x: b.unary("Neg", b.repeat(x, times, 2)))
    np.testing.assert_array_equal(found, -np.concatenate([feeds["x"]] * times, 2))


def test_many_repeats_take_few_nodes() -> None:
    model, _ = made({"x": (1, 2)}, lambda b, x: b.repeat(x, 4**5, 1))
    assert len(list(model.graph)) == 5


@pytest.mark.parametrize("opset", [12, 13, 18])
@pytest.mark.parametrize(
    ("parts", "sizes"), [(3, [2, 2, 2]), ([1, 5], [1, 5]), ([6], [6]), (1, [6]), ([1, 2, 3], [1, 2, 3])]
)
def test_parts_of_an_axis(opset: int, parts: int | list[int], sizes: list[int]) -> None:
    found, feeds = computed({"x": (1, 6, 2)}, lambda b, x: [b.unary("Neg", v) for v in b.split(x, parts, 1)], opset)
    wanted = np.split(-feeds["x"], np.cumsum(sizes)[:-1], 1)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("parts", [4, [2, 3], [7], []])
def test_parts_that_do_not_add_up_are_refused(parts: int | list[int]) -> None:
    with pytest.raises(RewriteError, match="does not add up") as caught:
        made({"x": (1, 6)}, lambda b, x: b.split(x, parts, 1)[0])
    assert caught.value.place == "x" and caught.value.limit == 6


CUTS = [(0, 7, 1), (2, 3, 1), (1, 6, 2), (0, 7, 3), (3, 7, 5)]


@pytest.mark.parametrize(("opset", "cut"), [(o, c) for o in (9, 10, 17) for c in CUTS if o > 9 or c[2] == 1])
def test_cuts_along_an_axis(opset: int, cut: tuple[int, int, int]) -> None:
    start, stop, step = cut
    (found,), feeds = computed({"x": (2, 7, 1)}, lambda b, x: b.unary("Neg", b.slice(x, 1, start, stop, step)), opset)
    np.testing.assert_array_equal(found, -feeds["x"][:, start:stop:step])


@pytest.mark.parametrize("opset", [13, 17, 18])
@pytest.mark.parametrize(("op", "numpy"), [("ReduceSum", np.sum), ("ReduceMax", np.max), ("ReduceMean", np.mean)])
@pytest.mark.parametrize("axes", [[1], [1, 3], [0, 1, 2, 3]])
def test_reductions_keep_their_axes(op: str, numpy: Any, axes: list[int], opset: int) -> None:
    (found,), feeds = computed({"x": (1, 3, 4, 5)}, lambda b, x: b.reduce(op, x, axes), opset)
    np.testing.assert_allclose(found, numpy(feeds["x"], axis=tuple(axes), keepdims=True), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 2, 3, 4), (1, 1)])
def test_pools_over_the_last_axis(shape: tuple[int, ...]) -> None:
    (mean, largest), feeds = computed(
        {"x": shape}, lambda b, x: [b.unary("Neg", f(x)) for f in (b.mean_last, b.max_last)]
    )
    np.testing.assert_allclose(mean, -feeds["x"].mean(-1, keepdims=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(largest, -feeds["x"].max(-1, keepdims=True))


@pytest.mark.parametrize("opset", [10, 11, 17])
@pytest.mark.parametrize(("low", "high"), [(-0.5, 0.5), (None, 0.25), (0.0, None)])
def test_bounds(opset: int, low: float | None, high: float | None) -> None:
    (found,), feeds = computed({"x": (3, 5)}, lambda b, x: b.clip(x, low, high), opset)
    np.testing.assert_array_equal(found, np.clip(feeds["x"], low, high).astype(np.float32))


@pytest.mark.parametrize("other", [2.0, np.ones((3, 1)), np.full((1, 4), -1.0), np.arange(24).reshape(2, 3, 4)])
def test_operands_broadcast_as_numpy_does(other: Any) -> None:
    (added, less, times), feeds = computed(
        {"x": (3, 4)}, lambda b, x: [b.add(x, other), b.sub(x, other), b.mul(x, other)]
    )
    for found, wanted in ((added, feeds["x"] + other), (less, feeds["x"] - other), (times, feeds["x"] * other)):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_what_is_discarded_leaves_no_trace() -> None:
    model, _ = made({"x": (1, 4)}, lambda b, x: b.add(x, 1.0))
    before = set(model.graph.initializers)
    build = Builder(model.graph, "gone", 17)
    build.reshape(build.mul(model.graph.inputs[0], np.ones(4)), [2, 2])
    assert set(model.graph.initializers) > before
    build.discard()
    assert set(model.graph.initializers) == before and not build.nodes
    assert len(model.graph.inputs[0].consumers()) == 1, "the reader of the graph, none of the builder"


def test_a_size_that_is_not_known_is_refused_by_name() -> None:
    open_size = ir.Value(name="frames", shape=ir.Shape(["n", 4]), type=ir.TensorType(ir.DataType.FLOAT))
    with pytest.raises(RewriteError, match="static shapes") as caught:
        Builder(ir.Graph([open_size], [], nodes=[]), "b", 17).unary("Relu", open_size)
    assert caught.value.place == "frames" and "simplify" in str(caught.value.remedy)


def test_names_are_the_builders_own() -> None:
    model, _ = made({"x": (1, 4)}, lambda b, x: b.mul(b.add(x, 1.0), b.add(x, 2.0)))
    names = [v.name for n in model.graph for v in n.outputs] + list(model.graph.initializers)
    assert len(set(names)) == len(names) and all(str(name).startswith("b.") for name in names)
    assert math.prod(model.graph.outputs[0].shape) == 4
