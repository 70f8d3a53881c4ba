"""Scales and zero points move from operators onto tensors: none is lost, none is invented."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder
from onnx import TensorProto, helper, numpy_helper

from n6convert.npu.graph import Graph
from n6convert.npu.ir import Tensor
from n6convert.npu.onnx_reader import read_proto
from n6convert.npu.quantized import assume_int8

FLOAT = np.float32


def _read(nodes: list[onnx.NodeProto], shape: list[int], constants: dict[str, np.ndarray], kind: int = 1) -> Graph:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", kind, shape)], [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return read_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def _grid(tensor: Tensor) -> tuple[float, int | None, str]:
    assert tensor.scale is not None
    return round(tensor.scale, 6), tensor.zero_point, tensor.dtype


@settings(max_examples=30)
@given(scale=st.floats(1e-4, 10), zero=st.integers(-128, 127), after=st.floats(1e-4, 10), end=st.integers(-128, 127))
def test_grids_of_a_pair_are_those_of_its_tensor(scale: float, zero: int, after: float, end: int) -> None:
    b = QdqBuilder("one")
    x = b.pair(b.declare("input", (1, 4)), scale, zero)
    b.output(b.op("Sigmoid", x, scale=after, zero=end))
    graph = read_proto(b.model())
    assert [node.op for node in graph.nodes] == ["Sigmoid"] and graph.style == "qdq"
    source, result = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert (source.scale, source.zero_point) == (pytest.approx(float(FLOAT(scale))), zero)
    assert (result.scale, result.zero_point) == (pytest.approx(float(FLOAT(after))), end)
    assert source.dtype == result.dtype == "int8"


def _requantized(scale: float, zero: int) -> list[str]:
    b = QdqBuilder("two")
    x = b.op("Sigmoid", b.input(1, 4), scale=0.05, zero=3)
    b.output(b.pair(x, scale, zero))
    return [node.op for node in read_proto(b.model()).nodes]


@pytest.mark.parametrize(
    ("scale", "zero", "stays"),
    [(0.05, 3, False), (0.05 * (1 + 5e-7), 3, False), (0.05 * (1 + 1e-5), 3, True), (0.05, 4, True), (0.1, 3, True)],
)
def test_a_second_grid_is_an_operator_and_the_same_grid_is_none(scale: float, zero: int, stays: bool) -> None:
    assert _requantized(scale, zero) == ["Sigmoid", *["QuantizeLinear"] * stays]


@pytest.mark.parametrize(("scales", "per_channel"), [([0.1], False), ([0.1, 0.2, 0.3], True)])
def test_weights_keep_the_scale_of_channel_0(scales: list[float], per_channel: bool) -> None:
    vector = np.array(scales, FLOAT)
    scale, zero = (vector, np.zeros(len(vector), np.int8)) if per_channel else (vector[0], np.int8(0))
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wd"], axis=0),
        helper.make_node("Conv", ["x", "wd"], ["y"], kernel_shape=[1, 1]),
    ]
    graph = _read(nodes, [1, 2, 4, 4], {"w": np.zeros((3, 2, 1, 1), np.int8), "s": scale, "z": zero})
    weights = graph.tensors[graph.nodes[-1].inputs[1]]
    assert weights.name == "w" and weights.constant and weights.per_channel is per_channel
    assert _grid(weights) == (0.1, 0, "int8")


def test_a_pair_without_zero_point_is_uint8() -> None:
    """ONNX: a QuantizeLinear without zero point gives uint8."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    graph = _read(nodes, [1, 4], {"s": FLOAT(0.25)})
    assert _grid(graph.tensors[graph.inputs[0]]) == (0.25, 0, "uint8")


# operators that carry their grids ------------------------------------------------------------------------------------

#: inputs as ONNX (QLinearConv, QLinearMatMul) and onnxruntime's contrib operators list them
_TENSORS = {"a": (0.1, 1), "b": (0.2, 2), "y": (0.4, 4)}
_SIGNATURES = {
    "QLinearConv": ("x a_s a_z w b_s b_z y_s y_z", "Conv", {"kernel_shape": [1, 1]}, (4, 4, 1, 1)),
    "QLinearMatMul": ("x a_s a_z w b_s b_z y_s y_z", "MatMul", {}, (4, 4)),
    "QGemm": ("x a_s a_z w b_s b_z bias y_s y_z", "Gemm", {}, (4, 4)),
    "QLinearAdd": ("x a_s a_z w b_s b_z y_s y_z", "Add", {}, (1, 4, 4, 4)),
    "QLinearMul": ("x a_s a_z w b_s b_z y_s y_z", "Mul", {}, (1, 4, 4, 4)),
    "QLinearSigmoid": ("x a_s a_z y_s y_z", "Sigmoid", {}, ()),
    "QLinearLeakyRelu": ("x a_s a_z y_s y_z", "LeakyRelu", {}, ()),
    "QLinearAveragePool": ("x a_s a_z y_s y_z", "AveragePool", {"kernel_shape": [2, 2]}, ()),
    "QLinearGlobalAveragePool": ("x a_s a_z y_s y_z", "GlobalAveragePool", {}, ()),
    "QLinearSoftmax": ("x a_s a_z y_s y_z", "Softmax", {"axis": 1}, ()),
}


@pytest.mark.parametrize("kind", sorted(_SIGNATURES))
def test_each_operator_hands_its_grids_to_its_tensors(kind: str) -> None:
    words, plain, attributes, weights = _SIGNATURES[kind]
    constants: dict[str, np.ndarray] = {}
    for name, (scale, zero) in _TENSORS.items():
        constants |= {f"{name}_s": np.asarray(FLOAT(scale)), f"{name}_z": np.asarray(np.int8(zero))}
    constants |= {"w": np.zeros(weights, np.int8), "bias": np.zeros(4, np.int32)}
    node = helper.make_node(kind, words.split(), ["y"], domain="com.microsoft", **attributes)
    shape = [4, 4] if kind in ("QGemm", "QLinearMatMul") else [1, 4, 4, 4]
    graph = _read([node], shape, {k: v for k, v in constants.items() if k in words.split()}, TensorProto.INT8)
    (found,) = graph.nodes
    wanted = ("x", *(["w"] if "w" in words.split() else []), *(["bias"] if "bias" in words else []))
    assert (found.op, found.inputs, graph.style) == (plain, wanted, "qoperator")
    assert _grid(graph.tensors["x"]) == (0.1, 1, "int8") and _grid(graph.tensors["y"]) == (0.4, 4, "int8")
    if "w" in found.inputs:
        assert _grid(graph.tensors["w"]) == (0.2, 2, "int8")
    assert "_params" not in found.attributes


def test_a_concat_lists_its_result_first() -> None:
    nodes = [
        helper.make_node("QLinearSigmoid", ["x", "s1", "z1", "s2", "z2"], ["t"], domain="com.microsoft"),
        helper.make_node(
            "QLinearConcat", ["s3", "z3", "x", "s1", "z1", "t", "s2", "z2"], ["y"], domain="com.microsoft", axis=1
        ),
    ]
    constants = {f"s{i}": np.asarray(FLOAT(i / 10)) for i in (1, 2, 3)}
    constants |= {f"z{i}": np.asarray(np.int8(i)) for i in (1, 2, 3)}
    graph = _read(nodes, [1, 2], constants, TensorProto.INT8)
    assert [(node.op, node.inputs) for node in graph.nodes] == [("Sigmoid", ("x",)), ("Concat", ("x", "t"))]
    assert [_grid(graph.tensors[name])[:2] for name in ("x", "t", "y")] == [(0.1, 1), (0.2, 2), (0.3, 3)]
    assert graph.tensors["y"].shape == (1, 4)


def test_dynamic_quantization_is_noted() -> None:
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    assert any("statically" in note for note in _read(nodes, [1, 4], {}).notes)


def test_an_export_with_its_scales_elsewhere_is_taken_as_int8() -> None:
    """A graph whose ends are quantized and whose weights are not: ST's optimized exports."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("Conv", ["d", "w"], ["c"], kernel_shape=[1, 1]),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    constants = {"s": FLOAT(0.5), "z": np.int8(0), "w": np.zeros((2, 2, 1, 1), FLOAT)}
    graph = _read(nodes, [1, 2, 4, 4], constants)
    assert graph.tensors["w"].dtype == graph.tensors["c"].dtype == "int8" and graph.tensors["w"].per_channel
    assert graph.tensors["y"].dtype == "float32", "an end stays as it is"
    assert any("_Q.json" in note for note in graph.notes)


def test_a_float_graph_stays_float_until_it_is_assumed_to_be_quantized() -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1])]
    graph = _read(nodes, [1, 2, 4, 4], {"w": np.zeros((2, 2, 1, 1), FLOAT), "ints": np.arange(3)})
    assert graph.style == "float" and not graph.tensors["y"].quantized and graph.notes == []
    assume_int8(graph)
    assert all(graph.tensors[name].quantized for name in "xwy") and graph.tensors["ints"].dtype == "int64"
    assert graph.style == "qdq" and len(graph.notes) == 1
    assume_int8(graph)
    assert len(graph.notes) == 1, "a second time changes nothing"


def test_work_on_constants_is_folded() -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("Relu", ["t"], ["r"]),
        helper.make_node("MatMul", ["x", "r"], ["y"]),
    ]
    graph = _read(nodes, [1, 3], {"w": np.ones((2, 3), FLOAT)})
    assert [node.op for node in graph.nodes] == ["MatMul"]
    assert graph.tensors["r"].constant and graph.tensors["r"].shape == (3, 2)
