"""Reading models: the three ONNX styles, TFLite in ST's channel-first order, and everything that can be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
from nets.qdq import QdqBuilder
from onnx import TensorProto, helper, numpy_helper

from n6convert.errors import GraphError, SourceError
from n6convert.npu.layout import channel_first, compose, invert, only_ones_move, permuted
from n6convert.npu.placement import read
from n6convert.npu.tflite_file import OPERATORS


def _model() -> onnx.ModelProto:
    b = QdqBuilder("small")
    x = b.op("Relu", b.conv(b.input(1, 3, 16, 16, zero=-1), 3, 8, kernel=3), zero=-128)
    b.output(b.op("Softmax", b.reshape(b.op("GlobalAveragePool", x), 1, 8)))
    return b.model()


def _float_model(nodes: list[onnx.NodeProto], shape: list[int | str]) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    outputs = [helper.make_empty_tensor_value_info(nodes[-1].output[0])]
    return helper.make_model(helper.make_graph(nodes, "g", inputs, outputs), ir_version=8)


def test_qdq_pairs_become_types_of_tensors() -> None:
    graph = read(_model())
    assert graph.style == "qdq"
    assert [node.op for node in graph.nodes] == ["Conv", "Relu", "GlobalAveragePool", "Reshape", "Softmax"]
    source = graph.tensors[graph.inputs[0]]
    assert (source.dtype, source.zero_point) == ("int8", -1)
    assert all(graph.tensors[name].quantized for name in graph.outputs)


def test_a_model_in_memory_a_file_and_onnx_ir_read_the_same(tmp_path: Path) -> None:
    model = _model()
    path = tmp_path / "small.onnx"
    onnx.save(model, str(path))
    kinds = [[node.op for node in read(m).nodes] for m in (model, path, str(path), onnx_ir.from_proto(model))]
    assert kinds[0] == kinds[1] == kinds[2] == kinds[3]


def _odd_model() -> onnx.ModelProto:
    """Constants given in every way, attributes of every kind, an open batch, a size written as a word."""
    two = numpy_helper.from_array(np.array([2.0], np.float32))
    nodes = [
        helper.make_node("Constant", [], ["slope"], value=two),
        helper.make_node("Constant", [], ["shape"], value_ints=[1, 3, 8, 8]),
        helper.make_node("ConstantOfShape", ["shape"], ["twos"], value=two),
        helper.make_node("Add", ["x", "twos"], ["sum"]),
        helper.make_node("PRelu", ["sum", "slope"], ["bent"], name="bend"),
        helper.make_node("LeakyRelu", ["bent"], ["leaky"], alpha=0.1),
        helper.make_node("Pad", ["leaky", "pads"], ["padded"], mode="reflect"),
        helper.make_node("Clip", ["padded", "", "six"], ["y"]),
    ]
    model = _float_model(nodes, ["batch", 3, "8", 8])
    model.graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(6.0, np.float32), "six"))
    return model


@pytest.mark.parametrize("build", [_model, _odd_model])
def test_onnx_ir_is_read_directly_as_its_protobuf_is(build: Callable[[], onnx.ModelProto]) -> None:
    held = onnx_ir.from_proto(build())
    direct, through = read(held), read(onnx_ir.to_proto(held))
    assert [n.op for n in direct.nodes]
    for a, b in zip(direct.nodes, through.nodes, strict=True):
        assert (a.name, a.op, a.inputs, a.outputs, a.attributes) == (b.name, b.op, b.inputs, b.outputs, b.attributes)
    assert direct.tensors == through.tensors
    assert direct.values.keys() == through.values.keys()
    assert all(np.array_equal(v, through.values[n]) for n, v in direct.values.items())
    assert (direct.inputs, direct.outputs, direct.style) == (through.inputs, through.outputs, through.style)


def test_open_batch_is_one() -> None:
    model = _float_model([helper.make_node("Relu", ["x"], ["y"])], ["batch", 3, 8, 8])
    assert read(model).tensors["y"].shape == (1, 3, 8, 8)


def test_initializers_listed_as_inputs_are_no_inputs() -> None:
    model = _model()
    weight = model.graph.initializer[0]
    model.graph.input.append(helper.make_tensor_value_info(weight.name, weight.data_type, list(weight.dims)))
    assert len(read(model).inputs) == 1


def test_shape_chains_are_computed() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n"], ["n1"], axes=[0]),
        helper.make_node("Concat", ["n1", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    model = _float_model(nodes, ["batch", 4, 6])
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.array(0), "zero"), numpy_helper.from_array(np.array([-1]), "rest")]
    )
    model.opset_import[0].version = 11
    graph = read(model)
    assert [node.op for node in graph.nodes] == ["Reshape"]
    assert graph.tensors["y"].shape == (1, 24)


def test_requantization_between_two_scales_stays_an_operator() -> None:
    b = QdqBuilder("requant")
    b.output(b.pair(b.op("Sigmoid", b.input(1, 8)), scale=0.2, zero=7))
    assert [node.op for node in read(b.model()).nodes] == ["Sigmoid", "QuantizeLinear"]


def test_qoperator_models_keep_their_conversions() -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        helper.make_node("QLinearConv", ["xq", "s", "z", "w", "s", "z", "s", "z"], ["yq"], kernel_shape=[1, 1]),
        helper.make_node("QLinearAdd", ["yq", "s", "z", "yq", "s", "z", "s", "z"], ["aq"], domain="com.microsoft"),
        helper.make_node("DequantizeLinear", ["aq", "s", "z"], ["y"]),
    ]
    model = _float_model(nodes, [1, 4, 8, 8])
    values = {"s": np.float32(0.1), "z": np.int8(-3), "w": np.zeros((6, 4, 1, 1), np.int8)}
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), k) for k, v in values.items())
    graph = read(model)
    assert graph.style == "qoperator"
    assert [node.op for node in graph.nodes] == ["QuantizeLinear", "Conv", "Add", "DequantizeLinear"]
    assert graph.tensors["aq"].zero_point == -3 and graph.tensors["aq"].shape == (1, 6, 8, 8)


# what can be wrong ----------------------------------------------------------------------------------------------


def _cycle() -> onnx.ModelProto:
    return _float_model([helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])], [1, 4])


def _unwritten() -> onnx.ModelProto:
    return _float_model([helper.make_node("Add", ["x", "nobody"], ["y"])], [1, 4])


def _twice() -> onnx.ModelProto:
    return _float_model([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["y"])], [1, 4])


def _dynamic() -> onnx.ModelProto:
    return _float_model([helper.make_node("Relu", ["x"], ["y"])], [1, "height", "width"])


def _huge() -> onnx.ModelProto:
    return _float_model([helper.make_node("Relu", ["x"], ["y"])], [1, 1 << 20, 1 << 20])


def _misfit() -> onnx.ModelProto:
    model = _model()
    for init in model.graph.initializer:
        if list(init.dims) == [8, 3, 3, 3]:
            init.CopyFrom(numpy_helper.from_array(np.zeros((8, 5, 3, 3), np.int8), init.name))
    del model.graph.value_info[:]
    return model


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_cycle, "cycle"),
        (_unwritten, "nobody writes"),
        (_twice, "written twice"),
        (_dynamic, "no static shape"),
        (_huge, "impossible size"),
    ],
)
def test_malformed_graphs_are_refused_with_the_place(build, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(GraphError, match=words) as caught:
        read(build())
    assert caught.value.place


def test_channels_that_do_not_fit_their_weights_are_refused() -> None:
    from n6convert.npu.placement import place

    with pytest.raises(GraphError):
        place(read(_misfit()), (2, 1))


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read(tmp_path / "absent.onnx")
    with pytest.raises(SourceError, match="does not exist"):
        read(tmp_path / "absent.tflite")
    with pytest.raises(SourceError, match="give the file in it"):
        read(tmp_path)
    (tmp_path / "report.json").write_text('{"schema_version": "1.0"}')
    with pytest.raises(SourceError, match="not a readable ONNX model"):
        read(tmp_path / "report.json")
    text = tmp_path / "text.onnx"
    text.write_text("this is no model")
    with pytest.raises(SourceError):
        read(text)
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(b"\x00" * 64)
    with pytest.raises(GraphError, match="not a TFLite file"):
        read(foreign)


def test_missing_external_weights_are_named(tmp_path: Path) -> None:
    model = _model()
    path = tmp_path / "external.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert [node.op for node in read(path).nodes][0] == "Conv"
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(GraphError, match="external weights are missing") as caught:
        read(path)
    assert caught.value.found == "weights.bin"


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    data = _model().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises((GraphError, SourceError)):
        read(path)


# TFLite ---------------------------------------------------------------------------------------------------------


def test_builtin_codes() -> None:
    known = {0: "ADD", 83: "PACK", 99: "SQUARED_DIFFERENCE", 114: "QUANTIZE", 126: "BATCH_MATMUL", 150: "GELU"}
    assert {code: OPERATORS[code] for code in known} == known


def test_tflite_maps_are_channel_first(neuralart_dir: Path) -> None:
    path = neuralart_dir / "reports" / "r02_yolov8n_pose_256" / "yolov8n_256_quant_pc_uf_pose_coco-st.tflite"
    graph = read(path)
    kinds = Counter(node.op for node in graph.nodes)
    assert kinds["Conv"] == 73 and kinds["Softmax"] == 1 and kinds["Split"] == 8
    first = next(node for node in graph.nodes if node.op == "Conv")
    assert graph.shape(first.inputs[1]) == (16, 3, 3, 3)
    assert graph.shape(first.outputs[0]) == (1, 16, 128, 128)
    softmax = next(node for node in graph.nodes if node.op == "Softmax")
    assert graph.shape(softmax.inputs[0]) == (1, 16, 4, 1344) and softmax.attributes["axis"] == 1
    assert graph.shape(graph.outputs[0]) == (1, 56, 1344)


def test_tflite_with_open_shapes_is_inferred(neuralart_dir: Path) -> None:
    folder = neuralart_dir / "reports" / "r15_tito_transformer_textgen"
    graph = read(folder / "earlier_smaller_transformer_quantized_model.tflite")
    assert graph.shape(graph.outputs[0]) == (1, 30, 5000)
    assert Counter(node.op for node in graph.nodes)["MatMul"] == 8


@pytest.mark.parametrize("cut", [9, 40, 200, 1000, 3000])
def test_truncated_tflite_is_refused(neuralart_dir: Path, tmp_path: Path, cut: int) -> None:
    data = (neuralart_dir / "reports" / "r13_magnus_single_layers" / "conv2d_3x3" / "model.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(data[:cut])
    with pytest.raises(GraphError):
        read(path)


# layout ---------------------------------------------------------------------------------------------------------


def test_permutations() -> None:
    assert channel_first(4) == (0, 3, 1, 2) and channel_first(2) == (0, 1)
    assert compose(channel_first(4), invert(channel_first(4))) == (0, 1, 2, 3)
    assert permuted((1, 8, 9, 16), channel_first(4)) == (1, 16, 8, 9)
    assert only_ones_move((1, 1, 4, 32), (0, 2, 1, 3)) and not only_ones_move((1, 2, 4, 32), (0, 2, 1, 3))


def test_a_kernel_of_absurd_size_is_refused_at_once() -> None:
    from n6convert.npu.placement import place

    b = QdqBuilder("absurd")
    x = b.op("Sigmoid", b.input(1, 1, 4000, 4000))
    b.output(b.op("Conv", x, b.weight(1, 1, 3000, 3000), kernel_shape=[3000, 3000]))
    with pytest.raises(GraphError, match="too large"):
        place(read(b.model()), (2, 1))
