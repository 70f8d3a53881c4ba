"""ONNX files as other tools write them: recognized by structure, cut, kept, or refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from n6convert_yolov8 import onnx_source
from n6convert_yolov8.architecture import parse_name
from n6convert_yolov8.decode import HeadFacts, decode_head
from n6convert_yolov8.detections import suppress
from n6convert_yolov8.network import build_network
from n6convert_yolov8.onnx_source import ForeignNetwork
from n6convert_yolov8.options import YoloOptions
from n6convert_yolov8.parameters import Parameters
from n6convert_yolov8.plugin import YoloDetect, YoloPose
from n6convert_yolov8.seeded import seeded_parameters
from onnx_ir.passes.common import ShapeInferencePass
from onnx_ir.tape import Tape

from n6convert.errors import SourceError
from n6convert.plugin import BuildRequest, Weights
from n6convert.runtime.session import run_model

SIZE = (64, 96)


def foreign(path: Path, name: str = "yolov8n", keypoints: tuple[int, int] | None = None, **options: bool) -> Parameters:
    """A full-head export under names that tell nothing, with the metadata that Ultralytics writes."""
    parameters = seeded_parameters(name, 5, keypoints=keypoints)
    model = build_network(parameters, SIZE, head="full", as_published=True, **options)
    hide_names(model)
    shape = parameters.architecture
    if shape.keypoints:
        model.metadata_props["kpt_shape"] = str(list(shape.keypoints))
    model.metadata_props["names"] = str({i: f"c{i}" for i in range(shape.classes)})
    ir.save(model, path)
    return parameters


def hide_names(model: ir.Model) -> None:
    for i, node in enumerate(model.graph):
        node.name = f"n{i}"
        for j, value in enumerate(node.outputs):
            value.name = f"v{i}_{j}"
    for i, value in enumerate(list(model.graph.initializers.values())):
        value.name = f"w{i}"


def opened(path: Path, name: str) -> ForeignNetwork:
    family, _, task = parse_name(name)
    return ForeignNetwork(path, task, family)


NETWORKS = [
    *(("yolov8" + end, None) for end in ("n-seg", "n-obb", "n-cls")),
    ("yolov8s-pose", (4, 2)), ("yolov8m-pose", (17, 3)),
    *(("yolo11" + end, None) for end in ("n", "n-obb", "n-cls")), ("yolo11n-pose", (17, 3)),
    *(("yolo26" + end, None) for end in ("n", "n-seg")), ("yolo26n-pose", (17, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "keypoints"), NETWORKS)
def test_every_layer_is_found_again(tmp_path: Path, name: str, keypoints: tuple[int, int] | None) -> None:
    original = foreign(tmp_path / "a.onnx", name, keypoints)
    found = opened(tmp_path / "a.onnx", name)
    assert found.parameters is not None, found.reason
    assert found.size == SIZE
    assert found.parameters.architecture == replace(original.architecture, end2end=False)
    for layer, conv in original.convs.items():
        if re.fullmatch(r"\d+\.cv2\.\d\.2", layer) or (name == "yolo26n-pose" and "cv4_kpts" in layer):
            continue  # changed while the file was written: centered, or in another unit
        assert np.array_equal(found.parameters.convs[layer].weight, conv.weight), layer
        assert np.array_equal(found.parameters.convs[layer].bias, conv.bias), layer
    assert found.parameters.classes == tuple(f"c{i}" for i in range(original.architecture.classes))


@pytest.mark.parametrize(("name", "classes"), [("yolov8n-obb", 1), ("yolov8s", 64), ("yolo26n", 4)])
def test_branches_with_as_many_channels_are_told_apart(tmp_path: Path, name: str, classes: int) -> None:
    """One class and one angle; 64 classes and 4 x 16 bins; 4 classes and 4 distances."""
    original = seeded_parameters(name, 5, classes=classes)
    model = build_network(original, SIZE, head="full", as_published=True)
    hide_names(model)
    ir.save(model, tmp_path / "a.onnx")
    found = opened(tmp_path / "a.onnx", name)
    assert found.parameters is not None, found.reason
    assert found.classes == classes
    last = f"{original.architecture.head}.cv3.1.2"
    assert np.array_equal(found.parameters.convs[last].weight, original.convs[last].weight)


def with_selection(path: Path, count: int = 20) -> None:
    """Turn a full-head file into what an end-to-end head is exported as: the best answers in pixels, by TopK."""
    model = ir.load(path)
    graph, output = model.graph, model.graph.outputs[0]
    width = int(output.shape[1])
    tape = Tape()

    def constant(array: object) -> ir.Value:
        return tape.op("Constant", [], {"value": ir.tensor(np.array(array))})

    def part(start: int, end: int) -> ir.Value:
        return tape.op("Slice", [rows, constant([start]), constant([end]), constant([2])])

    scale = constant(np.array([SIZE[1], SIZE[0]] * 2 + [1] * (width - 4), np.float32)[None, None])
    rows = tape.op("Mul", [tape.op("Transpose", [output], {"perm": [0, 2, 1]}), scale])
    best, label = tape.op_multi_out("TopK", [part(4, width), constant([1])], {"axis": 2}, num_outputs=2)
    scores, chosen = tape.op_multi_out("TopK", [best, constant([count])], {"axis": 1}, num_outputs=2)
    center, half = part(0, 2), tape.op("Mul", [part(2, 4), constant(np.float32(0.5))])
    corners = tape.op("Concat", [tape.op("Sub", [center, half]), tape.op("Add", [center, half])], {"axis": 2})
    wide = tape.op("Concat", [corners, best, tape.op("Cast", [label], {"to": 1})], {"axis": 2})
    index = tape.op("Expand", [chosen, constant([1, count, 6])])
    answers = tape.op("GatherElements", [wide, index], {"axis": 1})
    graph.extend(tape.nodes)
    graph.outputs[:] = [answers]
    ir.save(ShapeInferencePass()(model).model, path)


def test_answers_of_an_end_to_end_head(tmp_path: Path) -> None:
    """[1, answers, 6] behind TopK: recognized, rebuilt, and marked as needing no suppression."""
    original = foreign(tmp_path / "a.onnx", "yolo26n")
    with_selection(tmp_path / "a.onnx")
    found = opened(tmp_path / "a.onnx", "yolo26n")
    assert found.end2end and found.model.graph.outputs[0].shape == [1, 20, 6]
    assert found.parameters is not None, found.reason
    assert found.parameters.architecture == original.architecture and original.architecture.end2end
    plugin = YoloDetect("yolo26n", YoloOptions(imgsz=SIZE))
    built = plugin.build(BuildRequest(Weights("file", tmp_path / "a.onnx"), 0, tmp_path))
    assert built.metadata["end2end"] == "true"
    x = {"images": np.random.default_rng(0).random((1, 3, *SIZE), np.float32)}
    theirs = run_model(found.model, x)
    answers = next(iter(theirs.values()))[0]
    mine = decode_head(run_model(built.model, x), SIZE)
    kept = suppress(mine, confidence=0, iou=None, limit=3)
    assert np.allclose(mine.boxes[kept.rows], answers[:3, :4], atol=1e-2)
    assert kept.classes.tolist() == answers[:3, 5].tolist()


def test_other_answers_than_the_layers_give_are_noticed(tmp_path: Path) -> None:
    foreign(tmp_path / "a.onnx", "yolo26n")
    with_selection(tmp_path / "a.onnx")
    model = ir.load(tmp_path / "a.onnx")
    pool = next(n for n in model.graph if n.op_type == "MaxPool")
    pool.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", [3, 3])
    pool.attributes["pads"] = ir.AttrInt64s("pads", [1, 1, 1, 1])
    ir.save(model, tmp_path / "a.onnx")
    found = opened(tmp_path / "a.onnx", "yolo26n")
    assert found.parameters is None and "differs by" in found.reason


def test_weights_of_another_family_name_the_right_model(tmp_path: Path) -> None:
    foreign(tmp_path / "a.onnx", "yolo11n")
    assert "n6convert yolo11n --weights" in refusal(tmp_path / "a.onnx")


def test_channel_last_files(tmp_path: Path) -> None:
    foreign(tmp_path / "a.onnx", channels_last=True)
    found = opened(tmp_path / "a.onnx", "yolov8n")
    assert found.parameters is not None and found.size == SIZE


def unrecognized(path: Path, keypoints: tuple[int, int] | None = None) -> None:
    """One more convolution in the middle: no YOLOv8, but still a head that can be cut."""
    foreign(path, "yolov8n-pose" if keypoints else "yolov8n", keypoints)
    model = ir.load(path)
    node = next(n for n in model.graph if n.op_type == "MaxPool")
    source = node.inputs[0]
    channels = source.shape[1]
    weight = ir.Value(
        name="extra", const_value=ir.tensor(np.eye(channels, dtype=np.float32)[..., None, None], name="extra")
    )
    model.graph.register_initializer(weight)
    conv = ir.node("Conv", [source, weight], name="extra_conv")
    model.graph.insert_before(node, conv)
    node.replace_input_with(0, conv.outputs[0])
    ir.save(model, path)


def test_unknown_bodies_are_cut_where_they_are(tmp_path: Path) -> None:
    unrecognized(tmp_path / "a.onnx")
    found = opened(tmp_path / "a.onnx", "yolov8n")
    assert found.parameters is None and "64 convolutions" in found.reason
    plugin = YoloDetect("yolov8n", YoloOptions(imgsz=SIZE))
    result = plugin.build(BuildRequest(Weights("file", tmp_path / "a.onnx"), 0, tmp_path))
    assert result.metadata["head"] == "cut" and "own graph" in result.metadata["note"]
    x = {"images": np.random.default_rng(0).random((1, 3, *SIZE), np.float32)}
    whole, cut = (decode_head(run_model(m, x), SIZE) for m in (found.model, result.model))
    assert np.allclose(whole.boxes, cut.boxes, atol=1e-2) and np.allclose(whole.scores, cut.scores, atol=1e-5)


def test_places_and_visibility_of_an_unknown_body_are_told_apart(tmp_path: Path) -> None:
    unrecognized(tmp_path / "a.onnx", (17, 3))
    found = opened(tmp_path / "a.onnx", "yolov8n-pose")
    result = YoloPose("yolov8n-pose", YoloOptions(imgsz=SIZE)).build(
        BuildRequest(Weights("file", tmp_path / "a.onnx"), 0, tmp_path)
    )
    assert found.parameters is None and result.metadata["head"] == "cut"
    widths = {o.name: o.shape[1] for o in result.model.graph.outputs}
    assert widths["keypoints_16"] == 34 and widths["visibility_16"] == 17
    x = {"images": np.random.default_rng(0).random((1, 3, *SIZE), np.float32)}
    whole, cut = (decode_head(run_model(m, x), SIZE, HeadFacts((17, 3))) for m in (found.model, result.model))
    assert whole.keypoints is not None and cut.keypoints is not None
    assert np.allclose(whole.keypoints[..., :2], cut.keypoints[..., :2], atol=1e-2)
    assert np.allclose(whole.keypoints[..., 2], cut.keypoints[..., 2], atol=1e-5)


def test_a_head_that_cannot_be_cut_stays_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unrecognized(tmp_path / "a.onnx")
    monkeypatch.setattr(onnx_source, "_cut_at", lambda *_: None)
    result = YoloDetect("yolov8n", YoloOptions(imgsz=SIZE)).build(
        BuildRequest(Weights("file", tmp_path / "a.onnx"), 0, tmp_path)
    )
    assert result.metadata["head"] == "full" and "could not be cut" in result.metadata["note"]
    assert len(result.model.graph.outputs) == 1


def test_a_claim_that_does_not_hold_is_dropped(tmp_path: Path) -> None:
    """Same structure, other function (a factor behind the SiLU): running both notices."""
    foreign(tmp_path / "a.onnx")
    model = ir.load(tmp_path / "a.onnx")
    for node in model.graph:
        if node.op_type == "MaxPool":
            node.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", [3, 3])
            node.attributes["pads"] = ir.AttrInt64s("pads", [1, 1, 1, 1])
    ir.save(model, tmp_path / "a.onnx")
    found = opened(tmp_path / "a.onnx", "yolov8n")
    assert found.parameters is None and "differs by" in found.reason


def refusal(path: Path, pose: bool = False) -> str:
    plugin = (YoloPose if pose else YoloDetect)("yolov8n-pose" if pose else "yolov8n", YoloOptions(imgsz=SIZE))
    with pytest.raises(SourceError) as caught:
        plugin.build(BuildRequest(Weights("file", path), 0, path.parent))
    return str(caught.value)


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08 this is no model")
    assert "damaged" in refusal(tmp_path / "a.onnx")
    unrecognized(tmp_path / "b.onnx")
    plugin = YoloDetect("yolov8n", YoloOptions(imgsz=128))
    with pytest.raises(SourceError, match="64 x 96"):
        plugin.build(BuildRequest(Weights("file", tmp_path / "b.onnx"), 0, tmp_path))
    ir.save(build_network(seeded_parameters("yolov8n", 0), SIZE), tmp_path / "cut.onnx")
    assert "a single output" in refusal(tmp_path / "cut.onnx")
    foreign(tmp_path / "c.onnx")
    model = ir.load(tmp_path / "c.onnx")
    model.graph.inputs[0].shape = ir.Shape([1, 3, "h", "w"])
    ir.save(model, tmp_path / "c.onnx")
    assert "fixed size" in refusal(tmp_path / "c.onnx")


def test_a_quantized_yolo26_is_read_when_asked_for(data_dir: Path) -> None:
    """ST's INT8 YOLO26-pose: its weights under our names; only its anchors, which are rounded there, differ."""
    path = data_dir / "weights" / "yolo26_pose_256_qdq_int8.onnx"
    plugin = YoloPose("yolo26n-pose", YoloOptions(imgsz=256, dequantize=True))
    built = plugin.build(BuildRequest(Weights("file", path), 0, path.parent))
    assert built.metadata["head"] == "cut" and "grids of activations" in built.metadata["note"]
    assert built.metadata["classes"] == '["person"]' and built.metadata["keypoints"] == "[17, 3]"
    assert "end2end" not in built.metadata and built.metadata["reg_max"] == "1"


def test_quantized_files_are_refused(data_dir: Path) -> None:
    assert "quantized already" in refusal(data_dir / "weights" / "yolo26_pose_256_qdq_int8.onnx", pose=True)
