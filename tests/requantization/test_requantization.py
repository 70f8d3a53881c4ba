"""Quantized files: back to float as they say, their grids kept through rewrites, other forms refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime.quantization as ort_quantization
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from n6convert import convert
from n6convert.cli import app
from n6convert.errors import GraphError, SourceError
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.requantization import dequantize, noted_grids, with_float_ends
from n6convert.runtime.comparison import Noise
from n6convert.runtime.session import run_model

SHAPE = [1, 3, 12, 12]


def network() -> onnx.ModelProto:
    """Conv-Relu twice, a residual sum, Concat with a signed branch, global pool, Gemm."""
    rng = np.random.default_rng(0)

    def w(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    weights = {"w1": w(8, 3, 3, 3), "b1": w(8, 1)[:, 0], "w2": w(8, 8, 3, 3), "w3": w(4, 16, 1, 1), "w4": w(5, 4)}
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], **pads), helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], **pads), helper.make_node("Add", ["c2", "r1"], ["s"]),
        helper.make_node("Concat", ["r1", "s"], ["j"], axis=1), helper.make_node("Conv", ["j", "w3"], ["c3"]),
        helper.make_node("GlobalAveragePool", ["c3"], ["g"]), helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w4"], ["y"], transB=1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(v, k) for k, v in weights.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def samples(count: int = 8, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(count)]


def calibration(folder: Path) -> Path:
    folder.mkdir()
    for index, sample in enumerate(samples()):
        np.savez(folder / f"{index}.npz", **sample)
    return folder


class _Reader(ort_quantization.CalibrationDataReader):
    def __init__(self) -> None:
        self.left = samples()

    def get_next(self) -> dict[str, np.ndarray] | None:
        return self.left.pop() if self.left else None


def by_onnxruntime(tmp_path: Path, **options: object) -> Path:
    onnx.save(network(), tmp_path / "float.onnx")
    path = tmp_path / "given.onnx"
    ort_quantization.quantize_static(tmp_path / "float.onnx", path, _Reader(), **options)  # type: ignore[arg-type]
    return path


def sqnr(a: ir.Model | Path, b: ir.Model | Path) -> float:
    noise = Noise()
    for sample in samples(3, seed=1):
        noise.add(*(next(iter(run_model(m, sample).values())) for m in (a, b)))
    return float("inf") if noise.sqnr_db is None else noise.sqnr_db


KINDS = {
    "int8": {"activation_type": ort_quantization.QuantType.QInt8, "per_channel": True},
    "uint8": {"activation_type": ort_quantization.QuantType.QUInt8, "weight_type": ort_quantization.QuantType.QUInt8},
    "symmetric": {"extra_options": {"ActivationSymmetric": True}, "activation_type": ort_quantization.QuantType.QInt8},
    "16-bit": {
        "activation_type": ort_quantization.QuantType.QInt16, "weight_type": ort_quantization.QuantType.QInt8,
        "extra_options": {"UseQDQContribOps": True},
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_the_float_model_of_what_onnxruntime_made(kind: str, tmp_path: Path) -> None:
    path = by_onnxruntime(tmp_path, **KINDS[kind])
    model = ir.load(path)
    given = dequantize(model, path)
    assert not {"QuantizeLinear", "DequantizeLinear"} & {n.op_type for n in model.graph}
    assert sqnr(tmp_path / "float.onnx", model) > 28
    assert len(noted_grids(model.metadata_props)) == len(given.grids) >= 6
    assert bool(given.approximated) == (kind == "16-bit")


def test_grids_and_weights_are_kept_and_the_result_is_compared_with_the_file(tmp_path: Path) -> None:
    path = by_onnxruntime(tmp_path, **KINDS["int8"])
    result = CliRunner().invoke(
        app, ["requantize", str(path), "--calibration", str(calibration(tmp_path / "c")), "--output",
              str(tmp_path / "out"), "--set", "options.samples=arrays"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "against the quantized file that was given: y" in text and "grids that the quantized file gave" in text
    (made,) = (tmp_path / "out").glob("*_int8.onnx")
    assert sqnr(path, made) > 35
    before, after = _grids(path), _grids(made)
    assert {k: after[k] for k in ("x", "s", "y")} == {k: before[k] for k in ("x", "s", "y")}
    weights = {k.split("_")[0]: v for k, v in _weights(path).items()}
    for name, values in _weights(made).items():
        if values.shape == weights["w2"].shape:
            np.testing.assert_allclose(values, weights["w2"], rtol=1e-5, err_msg=name)


def _grids(path: Path) -> dict[str, tuple[float, int]]:
    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear":
            name = node.input[0].removesuffix("_QuantizeLinear_Input")
            found[name] = (float(constants[node.input[1]]), int(constants[node.input[2]]))
    return found


def _weights(path: Path) -> dict[str, np.ndarray]:
    graph = onnx.load(path).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    found = {}
    for node in graph.node:
        codes = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if codes is not None and codes.ndim == 4:
            found[node.output[0]] = codes.astype(np.float32) * constants[node.input[1]].reshape(-1, 1, 1, 1)
    return found


def test_grids_follow_tensors_that_rewrites_rename(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {"w": rng.normal(0, 0.2, (16, 16)), "s": np.array(0.25), "o": np.array(0.05)}
    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in arrays.items()]
    weights.append(numpy_helper.from_array(np.array(7, np.int8), "z"))
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "o", "z"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "o", "z"], ["xd"]),
        helper.make_node("MatMul", ["xd", "w"], ["m"]), helper.make_node("QuantizeLinear", ["m", "s", "z"], ["mq"]),
        helper.make_node("DequantizeLinear", ["mq", "s", "z"], ["md"]), helper.make_node("Tanh", ["md"], ["y"]),
    ]  # fmt: skip
    shape = [1, 4, 16]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    path = tmp_path / "linear.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    folder = tmp_path / "c"
    folder.mkdir()
    for index in range(4):
        np.savez(folder / f"{index}.npz", x=rng.standard_normal(shape).astype(np.float32))
    settings = {"options.dequantize": True, "options.samples": "arrays"}
    result = convert(str(path), calibration=folder, output=tmp_path / "out", settings=settings)
    names = {n.op_type for n in onnx.load(result.model_path).graph.node}
    assert "Conv" in names and "MatMul" not in names  # rewritten
    grids = list(_grids(result.model_path).values())
    assert (pytest.approx(0.25), 7) in grids and (pytest.approx(0.05), 7) in grids
    assert any("of 2 grids that the quantized file gave, 2 are kept" in text for text in result.warnings)


def test_codes_at_the_ends_and_moved_in_between() -> None:
    kernel = np.random.default_rng(0).integers(-100, 100, (4, 3, 1, 1)).astype(np.int8)
    constants = {"k": kernel, "ks": np.full(4, 0.01, np.float32), "s": np.array(1 / 128, np.float32),
                 "z": np.array(128, np.uint8), "t": np.array(0.02, np.float32),
                 "u": np.array(125, np.uint8)}  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["x"], ["xt"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["xt", "s", "z"], ["xd"]),
        helper.make_node("DequantizeLinear", ["k", "ks"], ["kd"], axis=0),
        helper.make_node("Conv", ["xd", "kd"], ["c"]), helper.make_node("QuantizeLinear", ["c", "t", "u"], ["cq"]),
        helper.make_node("Transpose", ["cq"], ["y"], perm=[0, 2, 3, 1]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 6, 6, 3])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, 6, 6, 4])],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )  # fmt: skip
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    codes = np.random.default_rng(1).integers(0, 256, (1, 6, 6, 3)).astype(np.uint8)
    expected = (run_model(ir.from_proto(proto), {"x": codes})["y"].astype(np.float32) - 125) * np.float32(0.02)
    values = {"x": (codes.astype(np.float32) - 128) / 128}
    given = with_float_ends(ir.from_proto(onnx.shape_inference.infer_shapes(proto)), "file")
    np.testing.assert_allclose(run_model(given, values)["y"], expected, atol=1e-6)
    model = ir.from_proto(proto)
    taken = dequantize(model, "file")
    result = run_model(model, values)["y"]
    inside = (expected > 0.02 * -124) & (expected < 0.02 * 129)  # a float model does not saturate
    assert np.abs(result - expected)[inside].max() <= 0.0101
    assert taken.pixels == {"x": (128.0, pytest.approx(128.0))} and set(taken.grids) == {"x", "c"}


@pytest.mark.parametrize("block", [0, 4])
def test_four_bit_weights_per_channel_and_per_block(block: int) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-8, 8, (6, 8)).astype(np.int8)
    scales = rng.uniform(0.01, 0.1, (6, 2) if block else (6,)).astype(np.float32)
    tensor = helper.make_tensor("k", TensorProto.INT4, (6, 8), codes.ravel().tolist())
    attributes = {"axis": 1, "block_size": block} if block else {"axis": 0}
    nodes = [
        helper.make_node("DequantizeLinear", ["k", "ks"], ["kd"], **attributes),
        helper.make_node("Gemm", ["x", "kd"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6])],
        [tensor, numpy_helper.from_array(scales, "ks")],
    )  # fmt: skip
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    taken = dequantize(model, "file")
    expected = codes * (np.repeat(scales, 4, axis=1) if block else scales[:, None])
    x = rng.standard_normal((1, 8)).astype(np.float32)
    np.testing.assert_allclose(run_model(model, {"x": x})["y"], x @ expected.T, rtol=1e-4, atol=1e-6)
    assert taken.weights == {"INT4": 1} and "4-bit" in taken.note


def test_float_weights_behind_a_quantizer_of_their_own() -> None:
    made = quantize(ir.from_proto(network()), lambda: iter(samples()), QuantizationConfig(rounding="nearest")).model
    proto = ir.to_proto(made)
    model = ir.from_proto(proto)
    node = next(n for n in model.graph if n.op_type == "DequantizeLinear" and n.inputs[0].shape.rank() == 4
                and n.inputs[0].const_value is not None)  # fmt: skip
    codes, scale, zero = (v.const_value for v in node.inputs)
    values = ir.tensor(codes.numpy() * scale.numpy().reshape(-1, 1, 1, 1) * np.float32(1.001), name="fake")
    source = ir.Value(name="fake", type=ir.TensorType(values.dtype), shape=values.shape, const_value=values)
    model.graph.register_initializer(source)
    fake = ir.node("QuantizeLinear", [source, *node.inputs[1:]], {"axis": 0})
    fake.outputs[0].name, fake.outputs[0].type = "fake_codes", ir.TensorType(ir.DataType.INT8)
    model.graph.insert_before(node, fake)
    node.replace_input_with(0, fake.outputs[0])
    plain = ir.from_proto(proto)
    dequantize(plain, "file"), dequantize(model, "file")
    assert sqnr(plain, model) == float("inf")


def test_other_forms_are_refused_by_name(tmp_path: Path) -> None:
    onnx.save(network(), tmp_path / "float.onnx")
    dynamic = tmp_path / "dynamic.onnx"
    ort_quantization.quantize_dynamic(tmp_path / "float.onnx", dynamic)
    with pytest.raises(SourceError) as caught:
        convert(str(dynamic), calibration=str(tmp_path), settings={"options.dequantize": True})
    assert all(word in str(caught.value) for word in ("dynamically", "float model")), str(caught.value)


def test_convert_points_to_requantize(tmp_path: Path) -> None:
    path = by_onnxruntime(tmp_path)
    with pytest.raises(SourceError, match="already quantized") as caught:
        convert(str(path), calibration=str(tmp_path))
    assert "n6convert requantize given.onnx" in str(caught.value)


def test_codes_read_on_another_grid_are_refused() -> None:
    constants = {"s": np.array(0.1, np.float32), "t": np.array(0.2, np.float32), "z": np.array(0, np.int8)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "t", "z"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy"]
    weights = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    with pytest.raises(GraphError, match="another grid"):
        dequantize(model, "file")
