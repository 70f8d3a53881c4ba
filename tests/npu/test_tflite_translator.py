"""TFLite in channel-first order: shapes, axes and pads, worked out by hand; no material from elsewhere."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_writer import LiteWriter

from n6convert.errors import GraphError
from n6convert.npu.graph import Graph, Node
from n6convert.npu.tflite_reader import read_tflite

I8 = {"scales": [0.5], "zeros": [3]}


def _conv_behind(w: LiteWriter, x: int, channels: int, hw: tuple[int, int]) -> int:
    """A 1x1 convolution: a file with one has channels, and is read channel-first."""
    weights = w.constant("pointwise", np.ones((channels, 1, 1, channels), np.int8), scales=[0.5])
    y = w.tensor("behind", (1, *hw, channels), "int8", **I8)
    w.op("CONV_2D", [x, weights], [y], {0: ("i8", 1), 1: ("i32", 1), 2: ("i32", 1)})
    return y


def _read(w: LiteWriter, folder: Path, inputs: list[int], outputs: list[int]) -> Graph:
    w.inputs, w.outputs = inputs, outputs
    return read_tflite(w.write(folder / "a.tflite"))


def _node(graph: Graph, kind: str) -> Node:
    (found,) = [node for node in graph.nodes if node.op == kind and not node.attributes.get("graph_edge")]
    return found


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.integers(3, 20), kernel=st.integers(1, 3), stride=st.integers(1, 3), dilation=st.integers(1, 2),
    depthwise=st.booleans(), same=st.booleans(),
)  # fmt: skip
def test_pads_of_tensorflow(
    size: int, kernel: int, stride: int, dilation: int, depthwise: bool, same: bool, tmp_path: Path
) -> None:
    """SAME: ceil(n / s) outputs, the odd pixel below and right; VALID none ([TensorFlow's definition])."""
    span = (kernel - 1) * dilation + 1
    if span > size:
        return
    out = -(-size // stride) if same else (size - span) // stride + 1
    w = LiteWriter()
    x = w.tensor("x", (1, size, size, 4), "int8", **I8)
    shape = (1, kernel, kernel, 4) if depthwise else (6, kernel, kernel, 4)
    weights = w.constant("w", np.ones(shape, np.int8), scales=[0.5])
    y = w.tensor("y", (1, out, out, 4 if depthwise else 6), "int8", **I8)
    first = 5 if depthwise else 4
    options = {0: ("i8", 0 if same else 1), 1: ("i32", stride), 2: ("i32", stride), first: ("i32", dilation),
               first + 1: ("i32", dilation)}  # fmt: skip
    w.op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [x, weights], [y], options)
    graph = _read(w, tmp_path, [x], [y])
    conv = _node(graph, "Conv")
    top, left, bottom, right = conv.attributes["pads"]
    assert (top, bottom) == (left, right) and 0 <= bottom - top <= 1
    assert (size + top + bottom - span) // stride + 1 == out
    assert same or not any(conv.attributes["pads"])
    assert graph.shape(conv.inputs[1]) == ((4, 1) if depthwise else (6, 4)) + (kernel, kernel)
    assert conv.attributes["group"] == (4 if depthwise else 1)
    assert graph.shape(conv.inputs[0]) == (1, 4, size, size)


def test_rows_and_columns_are_not_exchanged(tmp_path: Path) -> None:
    """The schema lists the width's stride, dilation and filter first."""
    w = LiteWriter()
    x = w.tensor("x", (1, 12, 30, 4), "int8", **I8)
    weights = w.constant("w", np.ones((6, 2, 3, 4), np.int8), scales=[0.5])
    y = w.tensor("y", (1, 11, 14, 6), "int8", **I8)
    w.op("CONV_2D", [x, weights], [y], {0: ("i8", 1), 1: ("i32", 2), 2: ("i32", 1)})
    z = w.tensor("z", (1, 5, 5, 6), "int8", **I8)
    w.op("MAX_POOL_2D", [y], [z], {0: ("i8", 1), 1: ("i32", 3), 2: ("i32", 2), 3: ("i32", 2), 4: ("i32", 3)})
    graph = _read(w, tmp_path, [x], [z])
    conv, pool = _node(graph, "Conv"), _node(graph, "MaxPool")
    assert (conv.attributes["strides"], conv.attributes["kernel_shape"]) == ([1, 2], [2, 3])
    assert (pool.attributes["strides"], pool.attributes["kernel_shape"]) == ([2, 3], [3, 2])
    assert graph.shape(pool.outputs[0]) == (1, 6, 5, 5)


def test_ends_keep_their_order_of_axes(tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 5, 7, 3), "int8", **I8)
    graph = _read(w, tmp_path, [x], [_conv_behind(w, x, 3, (5, 7))])
    assert [node.op for node in graph.nodes] == ["Transpose", "Conv", "Transpose"]
    assert all(node.attributes.get("graph_edge") for node in graph.nodes if node.op == "Transpose")
    assert graph.shape(graph.inputs[0]) == graph.shape(graph.outputs[0]) == (1, 5, 7, 3)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
def test_a_concat_joins_the_axis_that_was_meant(axis: int, tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 5, 7, 3), "int8", **I8)
    y = _conv_behind(w, x, 3, (5, 7))
    whole = [1, 5, 7, 3]
    whole[axis] *= 2
    z = w.tensor("z", whole, "int8", **I8)
    w.op("CONCATENATION", [y, y], [z], {0: ("i32", axis)})
    graph = _read(w, tmp_path, [x], [z])
    concat = _node(graph, "Concat")
    before, after = graph.shape(concat.inputs[0]), graph.shape(concat.outputs[0])
    changed = [i for i in range(4) if before[i] != after[i]]
    assert changed == [concat.attributes["axis"]]
    assert sorted(before) == [1, 3, 5, 7] and after[changed[0]] == 2 * before[changed[0]]
    assert before[changed[0]] == (1, 5, 7, 3)[axis]


@pytest.mark.parametrize("perm", list(itertools.permutations(range(4))))
def test_a_transpose_moves_the_same_axes_in_either_order(perm: tuple[int, ...], tmp_path: Path) -> None:
    """Tried on numbers: the inner Transpose between the inner forms is TFLite's between its own."""
    shape = (2, 5, 7, 3)
    w = LiteWriter()
    x = w.tensor("x", shape, "int8", **I8)
    side = w.tensor("s", (1, 4, 4, 3), "int8", **I8)
    y = _conv_behind(w, side, 3, (4, 4))
    order = w.constant("order", np.array(perm, np.int32))
    z = w.tensor("z", tuple(shape[axis] for axis in perm), "int8", **I8)
    w.op("TRANSPOSE", [x, order], [z])
    graph = _read(w, tmp_path, [x, side], [z, y])
    node = next(n for n in graph.nodes if n.outputs == ("z",))
    numbers = np.arange(np.prod(shape)).reshape(shape)
    inner = numbers.transpose(0, 3, 1, 2).transpose(node.attributes["perm"])
    assert np.array_equal(inner, numbers.transpose(perm).transpose(0, 3, 1, 2))


@pytest.mark.parametrize(("axes", "keep"), [([1, 2], True), ([1, 2], False), ([3], True), ([-1], True), ([1], True)])
def test_reductions_name_inner_axes(axes: list[int], keep: bool, tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 5, 7, 3), "int8", **I8)
    y = _conv_behind(w, x, 3, (5, 7))
    kept = [1 if i in [a % 4 for a in axes] else n for i, n in enumerate((1, 5, 7, 3))]
    shape = kept if keep else [n for i, n in enumerate(kept) if i not in [a % 4 for a in axes]]
    z = w.tensor("z", shape, "int8", **I8)
    w.op("MEAN", [y, w.constant("axes", np.array(axes, np.int32))], [z], {0: ("bool", keep)})
    graph = _read(w, tmp_path, [x], [z])
    mean = _node(graph, "ReduceMean")
    before, after = graph.shape(mean.inputs[0]), graph.shape(mean.outputs[0])
    assert [before[axis] for axis in mean.attributes["axes"]] == sorted(
        ((1, 5, 7, 3)[a] for a in axes), key=[1, 3, 5, 7].index
    )
    assert all(after[axis] == 1 for axis in mean.attributes["axes"])


def test_pads_follow_their_axes(tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 5, 7, 3), "int8", **I8)
    y = _conv_behind(w, x, 3, (5, 7))
    amounts = w.constant("pads", np.array([[0, 0], [1, 2], [0, 4], [5, 0]], np.int32))
    z = w.tensor("z", (1, 8, 11, 8), "int8", **I8)
    w.op("PAD", [y, amounts], [z])
    pad = _node(_read(w, tmp_path, [x], [z]), "Pad")
    assert pad.attributes["pads"] == [0, 5, 1, 0, 0, 0, 2, 4] and pad.attributes["mode"] == "constant"


def test_a_constant_of_channels_lies_along_the_channels(tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 5, 7, 3), "int8", **I8)
    y = _conv_behind(w, x, 3, (5, 7))
    z = w.tensor("z", (1, 5, 7, 3), "int8", **I8)
    w.op("MUL", [y, w.constant("scale", np.ones(3, np.int8), scales=[0.5])], [z])
    graph = _read(w, tmp_path, [x], [z])
    assert graph.shape(_node(graph, "Mul").inputs[1]) == (1, 3, 1, 1)


def test_without_layers_that_have_channels_the_order_is_tflites(tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 5, 7, 3), "int8", **I8)
    y = w.tensor("y", (1, 5, 7, 6), "int8", **I8)
    w.op("CONCATENATION", [x, x], [y], {0: ("i32", 3)})
    graph = _read(w, tmp_path, [x], [y])
    assert [(node.op, node.attributes["axis"]) for node in graph.nodes] == [("Concat", 3)]


@pytest.mark.parametrize(("kind", "after"), [("SPACE_TO_DEPTH", (1, 2, 3, 12)), ("DEPTH_TO_SPACE", (1, 8, 12, 1))])
def test_blocks_of_pixels_are_channels_without_any_other_layer(
    kind: str, after: tuple[int, ...], tmp_path: Path
) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 4, 6, 4 if kind == "DEPTH_TO_SPACE" else 3), "int8", **I8)
    y = w.tensor("y", after, "int8", **I8)
    w.op(kind, [x], [y], {0: ("i32", 2)})
    graph = _read(w, tmp_path, [x], [y])
    (node,) = [n for n in graph.nodes if "Depth" in n.op]
    _, channels, height, width = graph.shape(node.inputs[0])
    more, rows, columns = graph.shape(node.outputs[0])[1:]
    assert (height, width) == (4, 6) and channels * height * width == more * rows * columns
    assert (more, rows, columns) == (after[3], *after[1:3])


def test_a_reshape_that_mixes_channels_turns_there_and_back(tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 4, 4, 3), "int8", **I8)
    y = _conv_behind(w, x, 3, (4, 4))
    kept, mixed = w.tensor("kept", (1, 16, 3), "int8", **I8), w.tensor("mixed", (1, 8, 6), "int8", **I8)
    w.op("RESHAPE", [y], [kept])
    w.op("RESHAPE", [y], [mixed])
    graph = _read(w, tmp_path, [x], [kept, mixed])
    writers = graph.producers()
    assert writers["kept"].op == "Reshape" and writers["kept"].inputs == ("behind",)
    assert writers["mixed"].op == "Transpose"
    assert writers[writers["mixed"].inputs[0]].op == "Reshape"


def test_a_parameter_that_is_computed_is_named(tmp_path: Path) -> None:
    w = LiteWriter()
    x, axes = w.tensor("x", (1, 4), "int8", **I8), w.tensor("axes", (1,), "int32")
    y = w.tensor("y", (1, 1), "int8", **I8)
    w.op("MEAN", [x, axes], [y])
    with pytest.raises(GraphError, match="needs a constant parameter") as caught:
        _read(w, tmp_path, [x, axes], [y])
    assert caught.value.place == "axes"


def test_unknown_operators_keep_their_name_and_shapes(tmp_path: Path) -> None:
    w = LiteWriter()
    x, y = w.tensor("x", (1, 4), "int8", **I8), w.tensor("y", (1, 9), "int8", **I8)
    w.op("ethos-u", [x], [y])
    graph = _read(w, tmp_path, [x], [y])
    assert graph.nodes[0].op == "ethos-u" and graph.shape("y") == (1, 9)
