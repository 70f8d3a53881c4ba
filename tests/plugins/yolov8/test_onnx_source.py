"""ONNX files as other tools write them: recognised by structure, cut, kept, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from n6convert_yolov8 import onnx_source
from n6convert_yolov8.decode import decode_head
from n6convert_yolov8.network import build_network
from n6convert_yolov8.onnx_source import ForeignNetwork
from n6convert_yolov8.parameters import Parameters, seeded_parameters
from n6convert_yolov8.plugin import YoloV8, YoloV8Options, YoloV8Pose

from n6convert.errors import SourceError
from n6convert.numerics import run_model
from n6convert.plugin import BuildRequest, Weights

SIZE = (64, 96)


def foreign(path: Path, keypoints: tuple[int, int] | None = None, size: str = "n", **options: bool) -> Parameters:
    """A full-head export under names that tell nothing."""
    parameters = seeded_parameters(size, 5, keypoints)
    model = build_network(parameters, SIZE, head="full", **options)
    for i, node in enumerate(model.graph):
        node.name = f"n{i}"
        for j, value in enumerate(node.outputs):
            value.name = f"v{i}_{j}"
    for i, value in enumerate(list(model.graph.initializers.values())):
        value.name = f"w{i}"
    ir.save(model, path)
    return parameters


@pytest.mark.parametrize(("size", "keypoints"), [("n", None), ("n", (17, 3)), ("s", (4, 2)), ("m", (17, 3))])
def test_every_layer_is_found_again(tmp_path: Path, size: str, keypoints: tuple[int, int] | None) -> None:
    original = foreign(tmp_path / "a.onnx", keypoints, size)
    model = ir.load(tmp_path / "a.onnx")
    if keypoints:
        model.metadata_props["kpt_shape"] = str(list(keypoints))
        model.metadata_props["names"] = str({i: f"c{i}" for i in range(80)})
        ir.save(model, tmp_path / "a.onnx")
    found = ForeignNetwork(tmp_path / "a.onnx", pose=keypoints is not None)
    assert found.parameters is not None, found.reason
    assert found.size == SIZE and found.parameters.architecture == original.architecture
    for name, conv in original.convs.items():
        if name.startswith("22.cv2.") and name.endswith(".2"):
            continue  # centred while the file was written
        assert np.array_equal(found.parameters.convs[name].weight, conv.weight), name
    assert found.parameters.classes == (tuple(f"c{i}" for i in range(80)) if keypoints else None)


def test_channel_last_files(tmp_path: Path) -> None:
    foreign(tmp_path / "a.onnx", channels_last=True)
    found = ForeignNetwork(tmp_path / "a.onnx", pose=False)
    assert found.parameters is not None and found.size == SIZE


def unrecognised(path: Path, keypoints: tuple[int, int] | None = None) -> None:
    """One more convolution in the middle: no YOLOv8, but still a head that can be cut."""
    foreign(path, keypoints)
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
    if keypoints:
        model.metadata_props["kpt_shape"] = str(list(keypoints))
    ir.save(model, path)


def test_unknown_bodies_are_cut_where_they_are(tmp_path: Path) -> None:
    unrecognised(tmp_path / "a.onnx")
    found = ForeignNetwork(tmp_path / "a.onnx", pose=False)
    assert found.parameters is None and "64 convolutions" in found.reason
    plugin = YoloV8("yolov8n", YoloV8Options(imgsz=SIZE))
    result = plugin.build(BuildRequest(Weights("file", tmp_path / "a.onnx"), 0, tmp_path))
    assert result.metadata["head"] == "cut" and "own graph" in result.metadata["note"]
    x = {"images": np.random.default_rng(0).random((1, 3, *SIZE), np.float32)}
    whole, cut = (decode_head(run_model(m, x), SIZE, None) for m in (found.model, result.model))
    assert np.allclose(whole.boxes, cut.boxes, atol=1e-2) and np.allclose(whole.scores, cut.scores, atol=1e-5)


def test_places_and_visibility_of_an_unknown_body_are_told_apart(tmp_path: Path) -> None:
    unrecognised(tmp_path / "a.onnx", (17, 3))
    found = ForeignNetwork(tmp_path / "a.onnx", pose=True)
    result = YoloV8Pose("yolov8n-pose", YoloV8Options(imgsz=SIZE)).build(
        BuildRequest(Weights("file", tmp_path / "a.onnx"), 0, tmp_path)
    )
    assert found.parameters is None and result.metadata["head"] == "cut"
    widths = {o.name: o.shape[1] for o in result.model.graph.outputs}
    assert widths["keypoints_16"] == 34 and widths["visibility_16"] == 17
    x = {"images": np.random.default_rng(0).random((1, 3, *SIZE), np.float32)}
    whole, cut = (decode_head(run_model(m, x), SIZE, (17, 3)) for m in (found.model, result.model))
    assert whole.keypoints is not None and cut.keypoints is not None
    assert np.allclose(whole.keypoints[..., :2], cut.keypoints[..., :2], atol=1e-2)
    assert np.allclose(whole.keypoints[..., 2], cut.keypoints[..., 2], atol=1e-5)


def test_a_head_that_cannot_be_cut_stays_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unrecognised(tmp_path / "a.onnx")
    monkeypatch.setattr(onnx_source, "_cut_at", lambda *_: None)
    result = YoloV8("yolov8n", YoloV8Options(imgsz=SIZE)).build(
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
    found = ForeignNetwork(tmp_path / "a.onnx", pose=False)
    assert found.parameters is None and "differs by" in found.reason


def refusal(path: Path, pose: bool = False) -> str:
    plugin = (YoloV8Pose if pose else YoloV8)("yolov8n", YoloV8Options(imgsz=SIZE))
    with pytest.raises(SourceError) as caught:
        plugin.build(BuildRequest(Weights("file", path), 0, path.parent))
    return str(caught.value)


def test_refusals(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08 this is no model")
    assert "damaged" in refusal(tmp_path / "a.onnx")
    unrecognised(tmp_path / "b.onnx")
    plugin = YoloV8("yolov8n", YoloV8Options(imgsz=128))
    with pytest.raises(SourceError, match="64 x 96"):
        plugin.build(BuildRequest(Weights("file", tmp_path / "b.onnx"), 0, tmp_path))
    ir.save(build_network(seeded_parameters("n", 0, None), SIZE), tmp_path / "cut.onnx")
    assert "single output" in refusal(tmp_path / "cut.onnx")
    foreign(tmp_path / "c.onnx")
    model = ir.load(tmp_path / "c.onnx")
    model.graph.inputs[0].shape = ir.Shape([1, 3, "h", "w"])
    ir.save(model, tmp_path / "c.onnx")
    assert "fixed size" in refusal(tmp_path / "c.onnx")


def test_quantized_files_are_refused(data_dir: Path) -> None:
    assert "quantized already" in refusal(data_dir / "weights" / "yolo26_pose_256_qdq_int8.onnx", pose=True)
