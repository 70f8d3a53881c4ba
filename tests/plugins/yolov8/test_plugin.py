"""The plugin as the pipeline uses it, with real files where they are at hand."""

from __future__ import annotations

import importlib
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from n6convert_yolov8 import pretrained
from n6convert_yolov8.architecture import FAMILIES
from n6convert_yolov8.classify import YoloClassify
from n6convert_yolov8.detections import Detections
from n6convert_yolov8.onnx_source import ForeignNetwork
from n6convert_yolov8.options import YoloOptions
from n6convert_yolov8.plugin import YoloDetect, YoloOriented, YoloPose, YoloSegment
from n6convert_yolov8.published import published_architecture
from pydantic import ValidationError

from n6convert.errors import DownloadError, SourceError
from n6convert.metrics.base import Score
from n6convert.plugin import BuildRequest, ModelInfo, Sample, TensorInfo, Weights
from n6convert.runtime.session import Session
from n6convert.samples import CocoLabel, open_samples
from n6convert.samples.synthetic import dead_leaves
from n6convert.testing import check_plugin


def interface(model: ir.Model, metadata: Any) -> ModelInfo:
    def tensor(value: ir.Value) -> TensorInfo:
        return TensorInfo(str(value.name), tuple(int(d) for d in value.shape or ()), "float32")

    return ModelInfo(tuple(map(tensor, model.graph.inputs)), tuple(map(tensor, model.graph.outputs)), metadata)


KINDS = {"": YoloDetect, "pose": YoloPose, "seg": YoloSegment, "obb": YoloOriented, "cls": YoloClassify}


def built(name: str, tmp_path: Path, path: Path | None = None, **options: Any) -> tuple[Any, ir.Model]:
    kind = KINDS[name.partition("-")[2]]
    plugin = kind(name, kind.Options(**options))
    weights = Weights("file", path) if path else Weights("seeded")
    result = plugin.build(BuildRequest(weights, 0, tmp_path))
    plugin.info = interface(result.model, result.metadata)
    return plugin, result.model


def score(plugin: Any, model: ir.Model, labels: Path, limit: int | None = None) -> Score:
    session, metric = Session(model, threads=1), plugin.metric()
    for sample in open_samples(labels, "image", limit=limit):
        metric.add(sample, plugin.decode(session.run(plugin.encode(sample)), sample))
    return metric.score()


def picture(*size: int) -> Sample:
    return Sample("x", np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))


def test_entry_points_load() -> None:
    declared = tomllib.loads((Path(__file__).parents[3] / "plugins/yolov8/pyproject.toml").read_text())
    found = declared["project"]["entry-points"]["n6convert.models"]
    assert set(found) == {f"{f}{s}{p}" for f in FAMILIES for s in "nsm" for p in ("", "-pose", "-seg", "-obb", "-cls")}
    for name, target in found.items():
        module, _, kind = target.partition(":")
        assert getattr(importlib.import_module(module), kind) is KINDS[name.partition("-")[2]]
        assert published_architecture(name)


@pytest.mark.parametrize(
    ("name", "head"), [("yolov8n-pose", "full"), ("yolo11n-seg", "cut"), ("yolo26n-obb", "cut"), ("yolo11n-cls", "cut")]
)
def test_keeps_the_contract(name: str, head: str) -> None:
    assert check_plugin(name, options={"imgsz": 64, "head": head}, convert=False)


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_encoded_pixels_are_bytes_over_255(tmp_path: Path, layout: str) -> None:
    plugin, model = built("yolov8n", tmp_path, imgsz=[64, 96], layout=layout)
    feeds = plugin.encode(picture(50, 50))
    assert {n: (a.shape, a.dtype) for n, a in feeds.items()} == {"images": (plugin.info.inputs[0].shape, np.float32)}
    codes = feeds["images"] * 255
    assert np.abs(codes - np.round(codes)).max() < 1e-4 and codes.max() > 250
    detections = plugin.decode(Session(model, threads=1).run(feeds), picture(50, 50))
    assert isinstance(detections, Detections) and detections.boxes.max(initial=0) <= 50


def test_options() -> None:
    assert YoloOptions(imgsz=256).size == (256, 256) and YoloOptions(imgsz=(192, 320)).size == (192, 320)
    for wrong in ({"imgsz": 100}, {"imgsz": 0}, {"head": "half"}, {"imgz": 64}, {"confidence": 2}):
        with pytest.raises(ValidationError):
            YoloOptions(**wrong)


def test_seeded_builds_are_equal(tmp_path: Path) -> None:
    first, second = (ir.to_proto(built("yolov8n", tmp_path, imgsz=64)[1]).SerializeToString() for _ in range(2))
    assert first == second


def test_wrong_task_names_the_right_model(tmp_path: Path, data_dir: Path) -> None:
    with pytest.raises(SourceError, match="n6convert yolov8n --weights"):
        built("yolov8n-pose", tmp_path, data_dir / "weights" / "yolov8n_fp32.pt", imgsz=64)


def test_pretrained_is_pinned_and_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import n6convert.plugin.weights

    asked = []

    def fetch(url: str, digest: str, cache: Path) -> Path:
        asked.append((url, digest, cache))
        raise DownloadError("offline", place=url)

    monkeypatch.setattr(n6convert.plugin.weights, "fetch", fetch)
    for name in pretrained.PINNED:
        plugin = YoloDetect(name, YoloOptions())
        assert plugin.resolve_weights("something else", cache=tmp_path) is None
        with pytest.raises(DownloadError):
            plugin.resolve_weights("pretrained", cache=tmp_path)
        url, digest, cache = asked.pop()
        assert url.startswith("https://github.com/ultralytics/assets/releases/download/v") and url.endswith(
            f"/{name}.pt"
        )
        assert len(digest) == 64 and cache == tmp_path
    assert {f"{family}{size}" for family in FAMILIES for size in "nsm"} <= set(pretrained.PINNED)


def test_other_published_weights_are_the_hubs_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import n6convert.plugin.weights

    asked = []
    monkeypatch.setattr(n6convert.plugin.weights, "fetch_hub", lambda model, cache: asked.append(model))
    for name, plugin in (("yolo26s-obb", YoloOriented), ("yolov8n-cls", YoloClassify)):
        assert name not in pretrained.PINNED
        plugin(name, plugin.Options()).resolve_weights("pretrained", cache=tmp_path)
    assert [(m.repository, m.files) for m in asked] == [
        ("Ultralytics/YOLO26", ("yolo26s-obb.pt",)),
        ("Ultralytics/YOLOv8", ("yolov8n-cls.pt",)),
    ]


def test_pictures_show_what_was_found(tmp_path: Path) -> None:
    plugin, _ = built("yolov8n-pose", tmp_path, imgsz=64)
    points = np.full((1, 17, 3), 20.0, np.float32)
    found = Detections(np.array([[5, 5, 40, 40]], np.float32), np.array([0.9]), np.array([0]), points)
    faint = Detections(found.boxes, np.array([0.01]), found.classes, points)
    sample = Sample("x", np.zeros((60, 80, 3), np.uint8))
    sheet = np.asarray(plugin.draw(sample, found, faint))
    left, right = sheet[18:, :80], sheet[18:, 88:]
    assert left.any() and not right.any()


def test_detection_quality_on_real_images(tmp_path: Path, data_dir: Path) -> None:
    """Both forms of the head give the AP of the published graph (0.430 on all 64 images)."""
    labels = data_dir / "images" / "coco_det_instances.json"
    scores = []
    for head in ("cut", "full"):
        plugin, model = built("yolov8n", tmp_path, data_dir / "weights" / "yolov8n_fp32.pt", imgsz=320, head=head)
        scores.append(score(plugin, model, labels, limit=24).value)
    assert scores[0] == pytest.approx(scores[1], abs=0.003) and scores[0] > 0.3


def test_pose_from_a_foreign_onnx_file(tmp_path: Path, data_dir: Path) -> None:
    """Recognized, rebuilt with a cut head, and as good as the file itself (0.246 on all 45 images)."""
    path, labels = (
        data_dir / "weights" / "yolov8n_pose_256_float.onnx",
        data_dir / "images" / "coco_kpt_person_keypoints.json",
    )
    plugin, model = built("yolov8n-pose", tmp_path, path, imgsz=256)
    assert plugin.info.metadata["head"] == "cut" and json.loads(plugin.info.metadata["keypoints"]) == [17, 3]
    assert [o.name for o in plugin.info.outputs][:3] == ["boxes_8", "scores_8", "keypoints_8"]
    ours = score(plugin, model, labels)
    foreign = ForeignNetwork(path, "pose", "yolov8")
    assert foreign.size == (256, 256) and foreign.keypoints == (17, 3)
    plugin.info = interface(foreign.model, plugin.info.metadata | {"head": "full"})
    theirs = score(plugin, foreign.model, labels)
    assert ours.value == pytest.approx(theirs.value, abs=0.003) and ours.value > 0.22


@pytest.mark.parametrize("name", ["yolo11n-seg", "yolo26n-obb"])
def test_masks_and_oriented_boxes_are_judged_by_their_pixels(tmp_path: Path, name: str) -> None:
    """What the network finds is right where the label is made of it, and pictures show it."""
    plugin, model = built(name, tmp_path, imgsz=[64, 96])
    sample = Sample("x", dead_leaves((80, 120), (0, 4)))
    found = plugin.decode(Session(model, threads=1).run(plugin.encode(sample)), sample)
    first = found.corners[0] if found.corners is not None else polygon_of(found.masks[0])
    annotation = {"bbox": [0, 0, 120, 80], "category_id": 1, "segmentation": [first.ravel().tolist()]}
    names = {1: plugin._class_names()[int(found.classes[0])]}
    metric = plugin.metric()
    metric.add(Sample("x", sample.data, CocoLabel(1, (annotation,), names)), found)
    assert 0 < metric.score().value <= 1 and metric.score().name == "mask AP 50:95"
    assert plugin.draw(sample, found, found).size[0] > 240


def polygon_of(mask: np.ndarray) -> np.ndarray:
    """Corners of the upright box around a mask."""
    rows, columns = np.nonzero(mask)
    x1, y1, x2, y2 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], float)


def test_the_head_that_needs_suppression(tmp_path: Path) -> None:
    for end2end in (True, False):
        plugin, _ = built("yolo26n", tmp_path, imgsz=64, end2end=end2end)
        assert plugin._end2end() is end2end


def test_classes_of_a_sample(tmp_path: Path) -> None:
    plugin, model = built("yolov8n-cls", tmp_path, imgsz=64)
    feeds = plugin.encode(picture(70, 50))
    pixels = feeds["images"] * 255
    assert pixels.shape == (1, 3, 64, 64) and np.abs(pixels - np.round(pixels)).max() < 1e-3
    outputs = Session(model, threads=1).run(feeds)
    assert outputs["logits"].shape == (1, 1000)
    assert plugin.decode(outputs).indices[0] == int(outputs["logits"].argmax())
