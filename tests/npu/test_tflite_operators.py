"""TFLite's layers in ONNX's terms: names, axes, groups and shapes, as numpy computes them in TFLite's own layout."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_writer import LiteWriter

from n6convert.npu.graph import Graph, Node
from n6convert.npu.tflite_operators import _SAME
from n6convert.npu.tflite_reader import read_tflite

from .test_tflite_movement import I8, SHAPE, File, behind, consistent, inner


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path)


def last(graph: Graph, kind: str) -> Node:
    (found,) = [n for n in behind(graph) if n.op == kind]
    return found


@pytest.mark.parametrize("kind", sorted(_SAME))
def test_elementwise_operators_keep_shape_and_operands(kind: str, file: File) -> None:
    binary = kind in {"ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW", "EQUAL", "LESS", "GREATER", "PRELU"}
    z = file.tensor("z", SHAPE)
    file.w.op(kind, [file.y, file.y] if binary else [file.y], [z])
    node = behind(file.read(z))[0]
    assert node.op == _SAME[kind] and set(node.inputs) == {"y"} and len(node.inputs) == 1 + binary
    assert node.outputs == ("z",)


@pytest.mark.parametrize(("shape", "wanted"), [
    ((3,), (1, 3, 1, 1)), ((7, 1), (1, 1, 1, 7)), ((5, 1, 1), (1, 1, 5, 1)), ((1, 5, 7, 3), (1, 3, 5, 7)), ((),
    (1, 1, 1, 1)),
])  # fmt: skip
@pytest.mark.parametrize("constant", [True, False])
def test_smaller_operands_lie_along_the_axes_that_were_meant(
    shape: tuple[int, ...], wanted: tuple[int, ...], constant: bool, file: File
) -> None:
    if constant:
        other = file.w.constant("other", np.ones(shape, np.int8), **I8)
    else:
        other = file.tensor("other", shape)
        file.w.op("CUSTOM", [file.y], [other])
    z = file.tensor("z", SHAPE)
    file.w.op("MUL", [file.y, other], [z])
    graph = file.read(z)
    node = last(graph, "Mul")
    assert graph.shape(node.inputs[1]) == wanted
    np.broadcast_shapes(graph.shape(node.inputs[0]), wanted)
    consistent(graph)


@pytest.mark.parametrize("kind", ["SQUARED_DIFFERENCE", "SQUARE", "RSQRT"])
def test_operators_that_onnx_spells_out(kind: str, file: File) -> None:
    z = file.tensor("z", SHAPE)
    file.w.op(kind, [file.y, file.y] if kind == "SQUARED_DIFFERENCE" else [file.y], [z])
    graph = file.read(z)
    spelled = {"SQUARED_DIFFERENCE": ["Sub", "Mul"], "SQUARE": ["Mul"], "RSQRT": ["Sqrt", "Reciprocal"]}[kind]
    assert [n.op for n in behind(graph)] == spelled
    assert all(graph.shape(n.outputs[0]) == inner(SHAPE) for n in behind(graph))


@pytest.mark.parametrize(("groups", "depthwise"), [(1, False), (3, False), (3, True), (6, True)])
def test_groups_of_a_convolution(groups: int, depthwise: bool, tmp_path: Path) -> None:
    """A CONV_2D says its groups by its weight's channels, a depthwise one by its kind; it may multiply channels."""
    channels, out = 3, groups if depthwise else 6
    w = LiteWriter()
    x = w.tensor("x", (1, 5, 7, channels), "int8", **I8)
    shape = (1, 3, 3, out) if depthwise else (out, 3, 3, channels // groups)
    weights = w.constant("w", np.ones(shape, np.int8), scales=[0.5])
    y = w.tensor("y", (1, 3, 5, out), "int8", **I8)
    w.op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [x, weights], [y], {0: ("i8", 1), 1: ("i32", 1), 2: ("i32", 1)}
    )
    w.inputs, w.outputs = [x], [y]
    graph = read_tflite(w.write(tmp_path / "a.tflite"))
    (conv,) = [n for n in graph.nodes if n.op == "Conv"]
    assert conv.attributes["group"] == (channels if depthwise else groups)
    o, i, *kernel = graph.shape(conv.inputs[1])
    assert (o, i * conv.attributes["group"], kernel) == (out, channels, [3, 3])


@pytest.mark.parametrize(
    ("shape", "columns", "keeps"),
    [((1, 6), 4, False), ((2, 3, 6), 4, False), ((2, 3, 6), 4, True), ((1, 2, 2, 6), 5, False)],
)
def test_products_with_weights_take_rows(shape: tuple[int, ...], columns: int, keeps: bool, tmp_path: Path) -> None:
    w = LiteWriter()
    rows = math.prod(shape[:-1])
    x = w.tensor("x", shape, "int8", **I8)
    weights = w.constant("w", np.ones((columns, 6), np.int8), scales=[0.5])
    y = w.tensor("y", (*shape[:-1], columns) if keeps else (rows, columns), "int8", **I8)
    w.op("FULLY_CONNECTED", [x, weights], [y], {2: ("bool", keeps)})
    w.inputs, w.outputs = [x], [y]
    graph = read_tflite(w.write(tmp_path / "a.tflite"))
    (gemm,) = [n for n in graph.nodes if n.op == "Gemm"]
    assert graph.shape(gemm.inputs[0]) == (rows, 6) and graph.shape(gemm.outputs[0]) == (rows, columns)
    assert gemm.attributes["transB"] == 1
    consistent(graph)


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products_of_activations_turn_what_they_say(turned: tuple[bool, bool], tmp_path: Path) -> None:
    w = LiteWriter()
    sides = [(2, 4, 5), (2, 5, 6)]
    sides = [(a, c, b) if t else (a, b, c) for (a, b, c), t in zip(sides, turned, strict=True)]
    a, b = (w.tensor(n, s, "int8", **I8) for n, s in zip("ab", sides, strict=True))
    y = w.tensor("y", (2, 4, 6), "int8", **I8)
    w.op("BATCH_MATMUL", [a, b], [y], {0: ("bool", turned[0]), 1: ("bool", turned[1])})
    w.inputs, w.outputs = [a, b], [y]
    graph = read_tflite(w.write(tmp_path / "a.tflite"))
    (product,) = [n for n in graph.nodes if n.op == "MatMul"]
    assert [graph.shape(n) for n in product.inputs] == [(2, 4, 5), (2, 5, 6)]
    assert sum(n.op == "Transpose" for n in graph.nodes) == sum(turned)


@pytest.mark.parametrize("kind", ["SUM", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "ARG_MAX"])
@pytest.mark.parametrize("axis", [1, 2, 3, -1])
def test_reductions_that_drop_their_axis(kind: str, axis: int, file: File) -> None:
    result = tuple(n for a, n in enumerate(SHAPE) if a != axis % 4)
    z = file.tensor("z", result)
    file.w.op(kind, [file.y, file.ints("axes", [axis])], [z], {0: ("bool", False)})
    graph = file.read(z)
    node = behind(graph)[0]
    assert [inner(SHAPE)[a] for a in node.attributes["axes"]] == [SHAPE[axis]] and node.op.startswith(("Reduce", "Arg"))
    consistent(graph)


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_softmax_is_over_the_last_axis_of_the_file(rank: int, file: File) -> None:
    shape = SHAPE[-rank:] if rank < 4 else SHAPE
    if rank < 4:
        x = file.tensor("part", shape)
        file.w.op("CUSTOM", [file.y], [x])
    else:
        x = file.y
    z = file.tensor("z", shape)
    file.w.op("SOFTMAX", [x], [z])
    graph = file.read(z)
    node = last(graph, "Softmax")
    assert graph.shape(node.inputs[0])[node.attributes["axis"]] == 3


@pytest.mark.parametrize(("kind", "flags", "new", "mode"), [
    ("RESIZE_BILINEAR", {}, (10, 14), "asymmetric"), ("RESIZE_BILINEAR", {2: True}, (10, 14), "align_corners"),
    ("RESIZE_BILINEAR", {3: True}, (10, 14), "half_pixel"), ("RESIZE_NEAREST_NEIGHBOR", {}, (10, 14), "asymmetric"),
    ("RESIZE_NEAREST_NEIGHBOR", {0: True}, (10, 14), "align_corners"),
    ("RESIZE_NEAREST_NEIGHBOR", {1: True}, (10, 14), "asymmetric"),
    ("RESIZE_NEAREST_NEIGHBOR", {1: True}, (9, 14), "half_pixel"),
])  # fmt: skip
def test_coordinates_of_resizes(kind: str, flags: dict[int, bool], new: tuple[int, int], mode: str, file: File) -> None:
    """Half-pixel centers pick the same neighbors where a map grows by whole factors."""
    z = file.tensor("z", (2, *new, 3))
    options: Any = {key: ("bool", value) for key, value in flags.items()}
    file.w.op(kind, [file.y, file.ints("size", new)], [z], options)
    node = last(file.read(z), "Resize")
    assert node.attributes["coordinate_transformation_mode"] == mode
    assert node.attributes["mode"] == ("linear" if kind == "RESIZE_BILINEAR" else "nearest")
    if mode == "asymmetric" and flags:
        for before, after in zip(SHAPE[1:3], new, strict=True):
            x = np.arange(after)
            np.testing.assert_array_equal(np.floor((x + 0.5) * before / after), np.floor(x * before / after))


def test_a_transposed_convolution_has_its_weights_input_first(tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1, 5, 7, 3), "int8", **I8)
    shape = w.constant("shape", np.array([1, 10, 14, 6], np.int32))
    weights = w.constant("w", np.ones((6, 2, 2, 3), np.int8), scales=[0.5])
    y = w.tensor("y", (1, 10, 14, 6), "int8", **I8)
    w.op("TRANSPOSE_CONV", [shape, weights, x], [y], {0: ("i8", 1), 1: ("i32", 2), 2: ("i32", 2)})
    w.inputs, w.outputs = [x], [y]
    graph = read_tflite(w.write(tmp_path / "a.tflite"))
    (node,) = [n for n in graph.nodes if n.op == "ConvTranspose"]
    assert graph.shape(node.inputs[0]) == (1, 3, 5, 7) and graph.shape(node.inputs[1]) == (3, 6, 2, 2)
    assert graph.shape(node.outputs[0]) == (1, 6, 10, 14) and node.attributes["strides"] == [2, 2]
