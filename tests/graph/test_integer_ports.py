"""Inputs and outputs of integers: uint8 images become float inputs of the same numbers, the rest is refused early."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from n6convert import convert
from n6convert.errors import GraphError
from n6convert.graph.integer_ports import float_inputs, refuse_integers
from n6convert.runtime.session import run_model

KERNEL = np.random.default_rng(0).normal(0, 0.2, (4, 3, 3, 3)).astype(np.float32)
KINDS = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "int32": TensorProto.INT32, "bool": TensorProto.BOOL}


def model(kind: str, ways: list[tuple[str, list[int] | int]], shape: list[int], output: str = "") -> onnx.ModelProto:
    """An integer input, operators that bring it to float, a scale and a convolution."""
    nodes, name = [], "x"
    for index, (op, what) in enumerate(ways):
        key = {"Cast": "to", "Transpose": "perm"}[op]
        nodes.append(helper.make_node(op, [name], [f"w{index}"], **{key: what}))
        name = f"w{index}"
    nodes += [helper.make_node("Mul", [name, "s"], ["m"]), helper.make_node("Conv", ["m", "k"], ["c"], pads=[1] * 4)]
    end = {"Cast": {"to": TensorProto.UINT8}, "ArgMax": {"axis": 1}}.get(output)
    if end is not None:
        nodes.append(helper.make_node(output, ["c"], ["y"], **end))
    constants = {"s": np.array(1 / 64, np.float32), "k": KERNEL}
    kinds = {"Cast": TensorProto.UINT8, "ArgMax": TensorProto.INT64}
    out = helper.make_tensor_value_info("y" if end else "c", kinds.get(output, TensorProto.FLOAT), None)
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", KINDS[kind], shape)], [out],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


NCHW, NHWC = [1, 3, 8, 8], [1, 8, 8, 3]
WAYS = {
    "a Cast": ("uint8", [("Cast", 1)], NCHW),
    "int8": ("int8", [("Cast", 1)], NCHW),
    "int32": ("int32", [("Cast", 1)], NCHW),
    "a Transpose before it": ("uint8", [("Transpose", [0, 3, 1, 2]), ("Cast", 1)], NHWC),
    "two Casts": ("uint8", [("Cast", TensorProto.INT32), ("Cast", 1)], NCHW),
    "moved between two Casts": ("uint8", [("Cast", TensorProto.INT32), ("Transpose", [0, 3, 1, 2]), ("Cast", 1)], NHWC),
}


@pytest.mark.parametrize(("kind", "ways", "shape"), WAYS.values(), ids=WAYS)
def test_the_same_function_of_the_same_numbers(kind: str, ways: list, shape: list[int]) -> None:
    proto = model(kind, ways, shape)
    found = ir.from_proto(proto)
    (port,) = float_inputs(found)
    assert (port.name, port.dtype) == ("x", kind) and kind in port.note
    assert found.graph.inputs[0].dtype == ir.DataType.FLOAT
    numbers = np.random.default_rng(1).integers(0, 100, shape).astype(kind)
    before = run_model(ir.from_proto(proto), {"x": numbers})["c"]
    after = run_model(found, {"x": numbers.astype(np.float32)})["c"]
    np.testing.assert_array_equal(before, after)
    refuse_integers(found, "file")


def test_a_narrowing_cast_changes_numbers_and_is_left() -> None:
    found = ir.from_proto(model("int32", [("Cast", TensorProto.UINT8), ("Cast", 1)], NCHW))
    assert float_inputs(found) == []
    with pytest.raises(GraphError, match="an input of integers"):
        refuse_integers(found, "file")


@pytest.mark.parametrize("end", ["Cast", "ArgMax"])
def test_integer_outputs_are_refused_with_the_cut(end: str) -> None:
    found = ir.from_proto(onnx.shape_inference.infer_shapes(model("uint8", [("Cast", 1)], NCHW, end)))
    float_inputs(found)
    with pytest.raises(GraphError, match="host") as caught:
        refuse_integers(found, "file")
    assert "options.outputs=[c]" in str(caught.value) and end in str(caught.value)


@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_images_as_integers_from_file_to_package(kind: str, tmp_path: Path) -> None:
    path, folder = tmp_path / "camera.onnx", tmp_path / "images"
    onnx.save(model(kind, [("Transpose", [0, 3, 1, 2]), ("Cast", 1)], NHWC), path)
    folder.mkdir()
    rng = np.random.default_rng(2)
    for index in range(4):
        from PIL import Image

        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{index}.png")
    result = convert(str(path), calibration=folder, output=tmp_path / "out")
    graph = onnx.load(result.model_path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    first = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "x")
    scale, zero = (constants[name].item() for name in first.input[1:3])
    assert (scale, zero) == (pytest.approx(1.0, rel=1e-6), -128 if kind == "uint8" else 0)
    assert any(f"input x is {kind}" in text for text in result.warnings)
    assert not any("activations are uint8" in text for text in result.warnings)


def test_what_depends_on_an_integer_output_is_left_to_the_host_too() -> None:
    """An index that is an output and is also turned into float: no output behind it can stay."""
    nodes = [
        helper.make_node("Relu", ["x"], ["c"], name="c"),
        helper.make_node("ArgMax", ["c"], ["i"], axis=1, name="i"),
        helper.make_node("Cast", ["i"], ["f"], to=1, name="f"),
        helper.make_node("Sigmoid", ["c"], ["s"], name="s"),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 4, 4])
    ends = {"i": TensorProto.INT64, "f": TensorProto.FLOAT, "s": TensorProto.FLOAT}
    outputs = [helper.make_tensor_value_info(name, kind, None) for name, kind in ends.items()]
    proto = helper.make_model(helper.make_graph(nodes, "g", [x], outputs), opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(GraphError) as caught:
        refuse_integers(ir.from_proto(onnx.shape_inference.infer_shapes(proto)), "file")
    assert "options.outputs=[s,c]" in str(caught.value.remedy)
