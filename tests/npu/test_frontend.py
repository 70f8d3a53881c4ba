"""What the front end simplifies, on graphs of a few operators: what goes, what stays, and that shapes stay right."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from nets.qdq import QdqBuilder

from n6convert.npu.frontend import simplify
from n6convert.npu.graph import Graph, Node
from n6convert.npu.onnx_reader import read_proto

Build = Callable[[QdqBuilder], str | list[str]]


def _simplified(build: Build, version: tuple[int, int] = (4, 0), quantized: bool = True) -> Graph:
    b = QdqBuilder("one", opset=17, quantized=quantized)
    ends = build(b)
    for name in [ends] if isinstance(ends, str) else ends:
        b.output(name)
    return simplify(read_proto(b.model()), version)


def _kinds(build: Build, version: tuple[int, int] = (4, 0), quantized: bool = True) -> list[str]:
    return [node.op for node in _simplified(build, version, quantized).nodes]


def _node(graph: Graph, kind: str) -> Node:
    (found,) = [node for node in graph.nodes if node.op == kind]
    return found


# saturation -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Relu", "Clip"])
def test_what_saturates_anyway_is_no_operator(kind: str) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Conv", b.input(1, 4, 8, 8), b.weight(4, 4, 1, 1), pair=False, kernel_shape=[1, 1])
        bounds = [b.constant(np.float32(0)), b.constant(np.float32(6))] if kind == "Clip" else []
        return b.op(kind, x, *bounds, zero=-128)

    graph = _simplified(build)
    assert [node.op for node in graph.nodes] == ["Conv"]
    assert graph.tensors[graph.nodes[0].outputs[0]].zero_point == -128, "it writes on the grid behind"
    assert _kinds(build, quantized=False) == ["Conv", kind], "a float does not saturate"


def test_a_relu_behind_a_fork_stays() -> None:
    def build(b: QdqBuilder) -> list[str]:
        x = b.conv(b.input(1, 4, 8, 8), 4, 4)
        return [b.op("Relu", x, zero=-128), b.op("Sigmoid", x)]

    assert sorted(_kinds(build)) == ["Conv", "Relu", "Sigmoid"]


def test_a_relu_behind_something_else_stays() -> None:
    assert _kinds(lambda b: b.op("Relu", b.op("Sigmoid", b.input(1, 4)), zero=-128)) == ["Sigmoid", "Relu"]


# normalization --------------------------------------------------------------------------------------------------------


def _normalized(b: QdqBuilder, x: str) -> str:
    return b.op("BatchNormalization", x, *(b.constant(np.ones(4, np.float32)) for _ in range(4)))


def test_a_normalization_goes_into_the_layer_before_it_alone() -> None:
    def behind(b: QdqBuilder) -> str:
        return _normalized(b, b.conv(b.input(1, 4, 8, 8), 4, 4))

    def forked(b: QdqBuilder) -> list[str]:
        x = b.conv(b.input(1, 4, 8, 8), 4, 4)
        return [_normalized(b, x), b.op("Exp", x)]

    assert _kinds(behind) == ["Conv"]
    assert sorted(_kinds(forked)) == ["BatchNormalization", "Conv", "Exp"]
    assert _kinds(lambda b: _normalized(b, b.op("Exp", b.input(1, 4, 8, 8)))) == ["Exp", "BatchNormalization"]


def test_a_layer_remembers_the_nodes_it_took_over() -> None:
    graph = _simplified(lambda b: _normalized(b, b.conv(b.input(1, 4, 8, 8), 4, 4)))
    assert len(graph.nodes[0].sources) == 2


# moves ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"), [((0, 2, 3, 1), (0, 3, 2, 1)), ((0, 3, 1, 2), (0, 2, 3, 1)), ((0, 2, 1, 3), (0, 1, 3, 2))]
)
def test_two_transposes_are_one_of_both(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(1, 3, 4, 5))
        return b.op("Exp", b.op("Transpose", b.op("Transpose", x, perm=list(first)), perm=list(second)))

    graph = _simplified(build)
    moved = [node for node in graph.nodes if node.op in ("Transpose", "Reshape")]
    numbers = np.arange(60).reshape(1, 3, 4, 5)
    wanted = numbers.transpose(first).transpose(second)
    assert len(moved) == 1
    assert np.array_equal(numbers.transpose(moved[0].attributes["perm"]), wanted)
    assert (moved[0].op == "Reshape") is np.array_equal(wanted.ravel(), numbers.ravel())


@pytest.mark.parametrize(("shape", "view"), [((1, 3, 1, 5), True), ((1, 1, 4, 5), True), ((1, 3, 4, 5), False)])
def test_a_transpose_that_moves_ones_is_a_view(shape: tuple[int, ...], view: bool) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(*shape))
        return b.op("Exp", b.op("Transpose", x, perm=[0, 2, 1, 3]))

    assert ("Reshape" in _kinds(build)) is view


@pytest.mark.parametrize(
    ("amounts", "mode", "folded"),
    [
        ([0, 0, 1, 2, 0, 0, 3, 4], "constant", True), ([0, 1, 1, 1, 0, 0, 1, 1], "constant", False),
        ([0, 0, 1, 1, 0, 0, 1, 1], "edge", False), ([0, 0, 0, 0, 0, 0, 1, 0], "constant", True),
    ],
)  # fmt: skip
def test_pads_of_rows_and_columns_are_the_layers_own(amounts: list[int], mode: str, folded: bool) -> None:
    channels = 4 + amounts[1] + amounts[5]

    def build(b: QdqBuilder) -> str:
        x = b.op("Pad", b.op("Exp", b.input(1, 4, 8, 8)), b.constant(np.array(amounts)), mode=mode)
        return b.op("Conv", x, b.weight(4, channels, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    graph = _simplified(build)
    assert ("Pad" in [node.op for node in graph.nodes]) is not folded
    own = [1, 1, 1, 1]
    extra = amounts[2:4] + amounts[6:8] if folded else [0] * 4
    assert _node(graph, "Conv").attributes["pads"] == [a + b for a, b in zip(own, extra, strict=True)]


@pytest.mark.parametrize(
    ("reader", "fill", "folded"),
    [
        ("Conv", 0.0, True), ("Conv", -1.0, False), ("Conv", -1e9, False), ("AveragePool", 1.0, False),
        ("MaxPool", 0.0, True), ("MaxPool", -1e9, True), ("MaxPool", -np.inf, True), ("MaxPool", 0.5, False),
    ],
)  # fmt: skip
def test_a_pad_is_the_layers_own_where_it_writes_what_the_layer_would(reader: str, fill: float, folded: bool) -> None:
    def build(b: QdqBuilder) -> str:
        amounts = b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))
        x = b.op("Pad", b.op("Exp", b.input(1, 4, 8, 8)), amounts, b.constant(np.float32(fill)))
        return b.conv(x, 4, 4, 3) if reader == "Conv" else b.op(reader, x, kernel_shape=[3, 3])

    assert ("Pad" not in _kinds(build)) is folded


def test_a_pad_that_something_else_reads_stays() -> None:
    def build(b: QdqBuilder) -> list[str]:
        x = b.op("Pad", b.op("Exp", b.input(1, 4, 8, 8)), b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
        return [b.conv(x, 4, 4), b.op("Sigmoid", x)]

    assert "Pad" in _kinds(build)


@pytest.mark.parametrize(("side", "resized"), [(1, False), (2, True)])
def test_enlarging_one_value_is_a_broadcast(side: int, resized: bool) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(1, 4, 8, 8))
        small = b.op("Sigmoid", b.input(1, 4, side, side, name="small"))
        scales = b.constant(np.array([1, 1, 8 / side, 8 / side], np.float32))
        large = b.op("Resize", small, b.constant(np.zeros(0, np.float32)), scales, mode="nearest")
        return b.op("Mul", x, large)

    assert ("Resize" in _kinds(build)) is resized


# Swish ----------------------------------------------------------------------------------------------------------------


def _swish(b: QdqBuilder, turned: bool = False, other: bool = False) -> str:
    x = b.conv(b.input(1, 4, 8, 8), 4, 4)
    gate = b.op("Sigmoid", b.op("Exp", x) if other else x)
    return b.op("Mul", *((gate, x) if turned else (x, gate)))


@pytest.mark.parametrize("version", [(2, 0), (2, 1), (3, 0), (4, 0)])
@pytest.mark.parametrize("turned", [False, True])
def test_a_swish_from_2_1_on_whatever_its_order(turned: bool, version: tuple[int, int]) -> None:
    kinds = _kinds(lambda b: _swish(b, turned), version)
    assert kinds == (["Conv", "Swish"] if version > (2, 0) else ["Conv", "Sigmoid", "Mul"])


def test_a_gate_of_something_else_is_no_swish() -> None:
    assert "Swish" not in _kinds(lambda b: _swish(b, other=True))


def test_a_gate_that_is_read_twice_stays() -> None:
    def build(b: QdqBuilder) -> list[str]:
        x = b.conv(b.input(1, 4, 8, 8), 4, 4)
        gate = b.op("Sigmoid", x)
        return [b.op("Mul", x, gate), b.op("Exp", gate)]

    assert "Swish" not in _kinds(build)


def test_a_square_is_no_swish_and_views_keep_their_grid() -> None:
    assert _kinds(lambda b: b.op("Mul", *[b.op("Exp", b.input(1, 4))] * 2)) == ["Exp", "Mul"]

    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(1, 4, 8), scale=0.25, zero=7)
        return b.op("Sigmoid", b.op("Reshape", x, b.constant(np.array([1, 32])), pair=False))

    graph = _simplified(build)
    view = graph.tensors[_node(graph, "Reshape").outputs[0]]
    assert (view.scale, view.zero_point, view.dtype) == (0.25, 7, "int8")


def test_simplifying_twice_changes_nothing_more() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Relu", _normalized(b, _swish(b)), zero=-128)
        x = b.op("Transpose", b.op("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
        return b.conv(b.op("Pad", x, b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]))), 4, 4, 3)

    graph = _simplified(build)
    once = [(node.op, node.inputs, node.outputs, dict(node.attributes)) for node in graph.nodes]
    again = simplify(graph, (4, 0))
    assert [(node.op, node.inputs, node.outputs, dict(node.attributes)) for node in again.nodes] == once
