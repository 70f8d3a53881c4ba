"""The built-in model `onnx`: what it infers, what it asks for, what it refuses."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.builtin.onnx_file import OnnxFile, OnnxOptions
from n6convert.errors import GraphError, N6ConvertError, RecipeError, SourceError
from n6convert.plugin import BuildRequest, FloatModel, ModelInfo, Sample, TensorInfo, Weights
from n6convert.runtime.session import run_model

RELU = "{ y = Relu (x) }"


def save(
    folder: Path, body: str = RELU, inputs: str = "float[N,3,16,12] x", outputs: str = "y", opset: int = 17
) -> Path:
    outputs = outputs if " " in outputs else f"float {outputs}"
    model = ir.from_onnx_text(f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => ({outputs}) {body}')
    for value in model.graph.outputs:
        value.shape = None
    path = folder / "model.onnx"
    ir.save(model, path)
    return path


def build(path: Path, scratch: Path, **options: Any) -> tuple[OnnxFile, FloatModel]:
    plugin = OnnxFile("onnx", OnnxOptions(**options))
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    request = BuildRequest(Weights("file", path, digest, str(path)), 0, scratch)
    built = plugin.build(request)
    graph = built.model.graph
    plugin.info = ModelInfo(
        tuple(_info(v) for v in graph.inputs), tuple(_info(v) for v in graph.outputs), dict(built.metadata)
    )
    return plugin, built


def _info(value: ir.Value) -> TensorInfo:
    assert value.shape is not None and value.dtype is not None
    return TensorInfo(value.name or "", tuple(int(d) for d in value.shape), str(value.dtype.numpy()))  # type: ignore[arg-type]


def picture(height: int = 32, width: int = 48) -> Sample:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Sample("a picture", image)


def test_layout_size_and_batch_are_read_off_the_file(tmp_path: Path) -> None:
    plugin, built = build(save(tmp_path), tmp_path, range="0..1")
    assert plugin.sample_kind == "image"
    assert [tuple(v.shape) for v in built.model.graph.outputs] == [(1, 3, 16, 12)]  # type: ignore[arg-type]
    feeds = plugin.encode(picture())
    assert feeds["x"].shape == (1, 3, 16, 12) and feeds["x"].dtype == np.float32
    assert 0 <= feeds["x"].min() < feeds["x"].max() <= 1
    assert run_model(built.model, feeds)["y"].shape == (1, 3, 16, 12)


def test_channel_last_and_color_order(tmp_path: Path) -> None:
    path = save(tmp_path, inputs="float[1,16,12,3] x")
    rgb = build(path, tmp_path, range="0..255")[0].encode(picture(16, 12))["x"]
    bgr = build(path, tmp_path, range="0..255", color="bgr")[0].encode(picture(16, 12))["x"]
    np.testing.assert_array_equal(rgb[0], picture(16, 12).data)
    np.testing.assert_array_equal(bgr, rgb[..., ::-1])


def test_mean_std_and_scale(tmp_path: Path) -> None:
    path = save(tmp_path, inputs="float[1,16,12,3] x")
    options = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "scale": 1 / 255}
    got = build(path, tmp_path, **options)[0].encode(picture(16, 12))["x"][0]
    image = np.asarray(picture(16, 12).data, np.float64) / 255
    np.testing.assert_allclose(got, (image - options["mean"]) / options["std"], rtol=1e-4, atol=1e-5)
    named = build(path, tmp_path, range="imagenet")[0].encode(picture(16, 12))["x"][0]
    np.testing.assert_allclose(named, got, rtol=1e-3, atol=1e-3)


def test_range_is_inferred_only_where_the_graph_tells(tmp_path: Path) -> None:
    divided = "<float d = {255.0}> { t = Div (x, d) y = Relu (t) }"
    got = build(save(tmp_path, divided), tmp_path)[0].encode(picture())["x"]
    assert got.max() > 100
    plugin, _ = build(save(tmp_path), tmp_path)
    with pytest.raises(RecipeError, match="cannot be inferred") as caught:
        plugin.encode(picture())
    assert "options.range" in str(caught.value)


def test_dynamic_dimensions_are_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path, inputs="float[N,3,H,W] x")
    with pytest.raises(RecipeError, match="open sizes") as caught:
        build(path, tmp_path)
    assert caught.value.found == "axis 2 (H), axis 3 (W)", "the batch is guessed, so it is not asked for"
    assert "shapes: {x: [1, 3, 224, 224]}" in str(caught.value)
    assert tuple(build(path, tmp_path, imgsz=64)[1].model.graph.inputs[0].shape or ()) == (1, 3, 64, 64)
    shapes = {"x": [1, 3, 32, 96]}
    assert tuple(build(path, tmp_path, shapes=shapes)[1].model.graph.outputs[0].shape or ()) == (1, 3, 32, 96)
    with pytest.raises(RecipeError, match="contradicts"):
        build(path, tmp_path, shapes={"x": [1, 4, 32, 32]})
    with pytest.raises(RecipeError, match="no input"):
        build(path, tmp_path, shapes={"z": [1, 3, 32, 32]})


@pytest.mark.parametrize("inputs", ["float[8,3,16,12] x"])
def test_a_fixed_batch_is_refused_with_the_way_out(tmp_path: Path, inputs: str) -> None:
    path = save(tmp_path, inputs=inputs)
    with pytest.raises(RecipeError, match="fixed batch"):
        build(path, tmp_path)
    built = build(path, tmp_path, shapes={"x": [1, 3, 16, 12]})[1]
    assert tuple(built.model.graph.outputs[0].shape or ()) == (1, 3, 16, 12)


def test_quantized_models_are_refused(tmp_path: Path) -> None:
    body = "<float s = {0.1}, int8 z = {0}> { q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"
    with pytest.raises(SourceError, match="already quantized") as caught:
        build(save(tmp_path, body), tmp_path)
    assert "n6convert lint" in str(caught.value)


def test_operators_that_onnx_does_not_have_are_refused_unless_cut_off(tmp_path: Path) -> None:
    body, inputs = "{ r = Relu (x) y = TFL_Custom (r, w) }", "float[1,3,16,12] x, float[3] w"
    path = save(tmp_path, body, inputs)
    with pytest.raises(GraphError, match="ONNX does not have") as caught:
        build(path, tmp_path)
    assert caught.value.found == "TFL_Custom" and "options.outputs=[r,w]" in str(caught.value.remedy)
    built = build(path, tmp_path, outputs=["r"])[1]
    assert [v.name for v in built.model.graph.outputs] == ["r"]


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    body = "{ h = Cast <to = 10> (x) r = Relu (h) y = Cast <to = 1> (r) }"
    _, built = build(save(tmp_path, body, inputs="float16[1,3,16,12] x"), tmp_path)
    kinds = {v.dtype for node in built.model.graph for v in node.outputs} | {v.dtype for v in built.model.graph.inputs}
    assert kinds == {ir.DataType.FLOAT}
    assert run_model(built.model, {"x": np.full((1, 3, 16, 12), 2, np.float32)})["y"].max() == 2


@pytest.mark.parametrize(("opset", "became"), [(11, 14), (13, 14), (17, 17), (21, 20)])
def test_opset_is_brought_into_range(tmp_path: Path, opset: int, became: int) -> None:
    _, built = build(save(tmp_path, opset=opset), tmp_path)
    assert built.model.opset_imports[""] == became


def test_graph_is_cut_at_tensors(tmp_path: Path) -> None:
    path = save(tmp_path, "{ t = Relu (x) u = Sigmoid (t) y = Exp (u) }")
    _, built = build(path, tmp_path, outputs=["t", "u"])
    assert [v.name for v in built.model.graph.outputs] == ["t", "u"] and len(built.model.graph) == 2
    with pytest.raises(RecipeError, match="does not have"):
        build(path, tmp_path, outputs=["tt"])


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    plugin, _ = build(save(tmp_path, "{ y = Add (x, b) }", "float[1,40,20] x, float[1,20] b"), tmp_path)
    assert plugin.sample_kind == "arrays"
    feeds = plugin.encode(Sample("s", {"x": np.ones((40, 20)), "b": np.ones((1, 20))}))
    assert feeds["x"].shape == (1, 40, 20) and feeds["x"].dtype == np.float32
    with pytest.raises(SourceError, match="another shape"):
        plugin.encode(Sample("s", {"x": np.ones((20, 40)), "b": np.ones((1, 20))}))
    with pytest.raises(SourceError, match="lacks an input"):
        plugin.encode(Sample("s", {"x": np.ones((40, 20))}))


def test_text_through_a_vocabulary(tmp_path: Path) -> None:
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "##ness", "!", "cafe"]))
    inputs = "int64[1,8] input_ids, int64[1,8] attention_mask, int64[1,8] token_type_ids"
    path = save(tmp_path, "{ t = Add (input_ids, attention_mask) y = Add (t, token_type_ids) }", inputs, "int64[1,8] y")
    plugin, _ = build(path, tmp_path, vocab=str(vocab))
    assert plugin.sample_kind == "text"
    feeds = plugin.encode(Sample("s", "Goodness! Café zebra"))
    assert feeds["input_ids"].tolist() == [[2, 4, 5, 6, 7, 1, 3, 0]]
    assert feeds["attention_mask"].tolist() == [[1] * 7 + [0]]
    assert feeds["token_type_ids"].tolist() == [[0] * 8]
    with pytest.raises(GraphError, match="integers"):
        build(path, tmp_path)
    floats = save(tmp_path, "{ y = Relu (x) }", "float[1,8] x", "float[1,8] y")
    with pytest.raises(RecipeError, match="needs a vocabulary"):
        build(floats, tmp_path)[0].encode(Sample("s", "hello"))


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"", "model.onnx"), (b"PK\x03\x04", "model.onnx"), (b"no flatbuffer", "model.tflite"), (b"", "model.pt")],
)
def test_damaged_files_are_named(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(N6ConvertError) as caught:
        build(path, tmp_path)
    assert name in str(caught.value)


def test_without_a_file(tmp_path: Path) -> None:
    plugin = OnnxFile("onnx", OnnxOptions())
    with pytest.raises(RecipeError, match="file of your own"):
        plugin.resolve_weights("pretrained", cache=tmp_path)
    with pytest.raises(RecipeError, match="give a model file"):
        plugin.build(BuildRequest(Weights("seeded"), 0, tmp_path))
    with pytest.raises(SourceError, match="no SavedModel"):
        build(tmp_path, tmp_path)


def test_real_float_networks(data_dir: Path, tmp_path: Path) -> None:
    plugin, built = build(data_dir / "weights" / "mobilefacenet_fp32.onnx", tmp_path, range="-1..1")
    assert plugin.info.outputs[0].shape == (1, 128)
    assert built.model.opset_imports[""] == 14
    path = data_dir / "weights" / "yolov8n_pose_256_float.onnx"
    assert build(path, tmp_path)[0].info.metadata["sample_kind"] == "image"


def test_mobilenet_classifies_real_images(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "weights" / "mobilenet_v2_1.0_224_float.onnx"
    plugin, built = build(path, tmp_path, range="-1..1", task="classification")
    metric = plugin.metric()
    rows = (data_dir / "images" / "imagenet500_labels.csv").read_text().splitlines()[1::25]
    from PIL import Image

    for row in rows:
        name, label = row.split(",")[:2]
        image = np.asarray(Image.open(data_dir / "images" / "imagenet500" / name).convert("RGB"))
        sample = Sample(name, image, {"class_index": label})
        metric.add(sample, plugin.decode(run_model(built.model, plugin.encode(sample)), sample))
    score = metric.score()
    assert score.samples == len(rows)
    assert score.value >= 0.7 and score.details["top-5"] >= score.value


@pytest.mark.parametrize("other", ["float[1,4] mask", "int64[1,2] im_shape", "bool[N] train"])
def test_inputs_that_nothing_reads_are_left_out(tmp_path: Path, other: str) -> None:
    path = save(tmp_path, inputs=f"float[1,3,16,12] x, {other}")
    name = other.split()[-1]
    plugin, built = build(path, tmp_path, range="0..1", shapes={name: [1, 4]})
    assert [v.name for v in built.model.graph.inputs] == ["x"] and plugin.sample_kind == "image"
    assert f"input {name} is left out" in built.metadata["note"]


def test_an_input_that_is_read_for_its_shape_alone_is_left_out(tmp_path: Path) -> None:
    body = '{ s = Shape (like) y = Resize <mode = "nearest"> (x, , , s) }'
    path = save(tmp_path, body, inputs="float[1,3,16,12] x, float[1,3,32,24] like")
    built = build(path, tmp_path, range="0..1")[1]
    assert [v.name for v in built.model.graph.inputs] == ["x"]
    assert tuple(built.model.graph.outputs[0].shape or ()) == (1, 3, 32, 24)


def test_outputs_that_repeat_others_are_left_out(tmp_path: Path) -> None:
    body = "{ y = Relu (x) a = Identity (y) b = Identity (a) same = Identity (x) z = Neg (y) }"
    outputs = "float y, float b, float same, float z"
    built = build(save(tmp_path, body, outputs=outputs), tmp_path, range="0..1")[1]
    assert [v.name for v in built.model.graph.outputs] == ["y", "z"]
    assert "output b is left out: it is y" in built.metadata["note"]
    assert "output same is left out: it is x" in built.metadata["note"]


def test_one_of_two_copies_stays(tmp_path: Path) -> None:
    body = "{ h = Relu (x) a = Identity (h) b = Identity (h) }"
    built = build(save(tmp_path, body, outputs="float a, float b"), tmp_path, range="0..1")[1]
    assert [v.name for v in built.model.graph.outputs] == ["a"]


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_sequences_of_equal_parts_are_a_split(tmp_path: Path, opset: int) -> None:
    """Old exporters write ``torch.split`` as a sequence; folding it must not leave attributes of newer opsets."""
    body = """<int64 two = {2}, int64 first = {0}> { parts = SplitToSequence <axis = 2> (x, two)
        a = SequenceAt (parts, first) y = Neg (a) }"""
    built = build(save(tmp_path, body, opset=opset), tmp_path, range="0..1")[1]
    x = np.random.default_rng(0).standard_normal((1, 3, 16, 12)).astype(np.float32)
    np.testing.assert_array_equal(run_model(built.model, {"x": x})["y"], -x[:, :, :2])


_BATCH_NORM = """<float[3] s = {1, 2, 3}, float[3] t = {0, 1, 2}> {
    y, m, v = BatchNormalization <training_mode = 1> (x, s, t, t, s) }"""
_DROPOUT = "<float r = {0.5}, bool mode = {1}> { h = Relu (x) y = Dropout (h, r, mode) }"


@pytest.mark.parametrize(("body", "operator"), [(_BATCH_NORM, "BatchNormalization"), (_DROPOUT, "Dropout")])
def test_a_network_in_training_mode_is_refused_with_the_way_out(tmp_path: Path, body: str, operator: str) -> None:
    with pytest.raises(GraphError, match="training mode") as caught:
        build(save(tmp_path, body), tmp_path, range="0..1")
    assert operator in str(caught.value.place) and "model.eval()" in str(caught.value.remedy)
