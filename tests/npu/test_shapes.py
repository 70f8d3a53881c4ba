"""Shapes that are inferred against shapes that onnxruntime computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder
from onnx import TensorProto, helper, numpy_helper

from n6convert.errors import GraphError
from n6convert.npu.onnx_reader import read_proto

Step = Callable[[QdqBuilder, str], str]
_STEPS: dict[str, Step] = {
    "conv": lambda b, x: b.conv(x, 4, 4, 3),
    "pool": lambda b, x: b.op("MaxPool", x, kernel_shape=[2, 2], strides=[1, 1]),
    "relu": lambda b, x: b.op("Relu", x),
    "pad": lambda b, x: b.op("Pad", x, b.constant(np.array([0, 0, 1, 0, 0, 0, 0, 1]))),
    "twice": lambda b, x: b.op("Resize", x, b.constant(np.zeros(0, np.float32)), b.constant(
        np.array([1, 1, 2, 1], np.float32)), mode="nearest"),
    "slice": lambda b, x: b.op("Slice", x, b.constant(np.array([1])), b.constant(np.array([99])), b.constant(
        np.array([2]))),
    "turn": lambda b, x: b.op("Transpose", x, perm=[0, 1, 3, 2]),
    "join": lambda b, x: b.op("Slice", b.op("Concat", x, x, axis=1), b.constant(np.array([2])), b.constant(
        np.array([6])), b.constant(np.array([1]))),
    "mean": lambda b, x: b.op("Mul", x, b.op("ReduceMean", x, axes=[2, 3], keepdims=1)),
    "by shape": lambda b, x: b.op("Reshape", b.op("Reshape", x, b.constant(np.array([1, 4, -1]))),
                                  b.write("Shape", [x], 1)[0]),
}  # fmt: skip


def _reference(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of all outputs of all nodes by computing them."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    del whole.graph.output[:]
    whole.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(names, {model.graph.input[0].name: np.ones(shape, np.float32)})
    return {name: np.shape(value) for name, value in zip(names, values, strict=True)}


@settings(max_examples=25)
@given(steps=st.lists(st.sampled_from(sorted(_STEPS)), min_size=1, max_size=5), quantized=st.booleans())
def test_every_shape_is_the_computed_one(steps: list[str], quantized: bool) -> None:
    b = QdqBuilder("random", quantized=quantized)
    x = b.input(1, 4, 6, 7)
    for step in steps:
        x = _STEPS[step](b, x)
    b.output(x)
    model = b.model()
    del model.graph.value_info[:]
    graph, reference = read_proto(model), _reference(model)
    for node in graph.nodes:
        for name in node.outputs:
            assert graph.tensors[name].shape == reference[name], name


def _float(nodes: list[onnx.NodeProto], shape: list[int], constants: dict[str, np.ndarray]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_empty_tensor_value_info("y")],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_sizes_that_are_computed_from_sizes() -> None:
    """Half of the width, squared in the Python of an exporter: Shape, Slice, Div, Mul, Concat, Reshape."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "two", "three"], ["w"]),
        helper.make_node("Div", ["w", "two"], ["half"]),
        helper.make_node("Mul", ["half", "two"], ["even"]),
        helper.make_node("Concat", ["one", "even", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = {name: np.array([value]) for name, value in (("one", 1), ("two", 2), ("three", 3), ("rest", -1))}
    model = _float(nodes, [1, 3, 8], constants)
    graph = read_proto(model)
    assert graph.tensors["y"].shape == _reference(model)["y"] == (1, 8, 3)
    assert [node.op for node in graph.nodes] == ["Reshape"]


@pytest.mark.parametrize("kind", ["Gelu", "FastGelu", "QuickGelu", "BiasGelu"])
def test_functions_of_onnxruntime_keep_the_shape(kind: str) -> None:
    inputs = ["x", "bias"] if kind == "BiasGelu" else ["x"]
    node = helper.make_node(kind, inputs, ["g"], domain="com.microsoft")
    model = _float([node, helper.make_node("Relu", ["g"], ["y"])], [1, 5, 4], {"bias": np.ones(4, np.float32)})
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert read_proto(model).tensors["y"].shape == (1, 5, 4)


def test_sizes_that_contradict_each_other_are_refused() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    with pytest.raises(GraphError) as caught:
        read_proto(_float([node], [1, 4], {"w": np.ones((5, 2), np.float32)}))
    assert caught.value.place == "y"


def test_a_size_that_depends_on_values_is_refused_by_name() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["n"]), helper.make_node("Cast", ["n"], ["y"], to=1)]
    with pytest.raises(GraphError, match="cannot be inferred") as caught:
        read_proto(_float(nodes, [1, 4], {}))
    assert caught.value.place == "n" and caught.value.remedy
