"""YOLO exports with their head in: cut where pixels meet probabilities, by what the graph itself says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from n6convert import convert
from n6convert.builtin.onnx_file import OnnxFile, OnnxOptions
from n6convert.builtin.static import cut, settle_shapes
from n6convert.builtin.yolo_head import find_yolo_head
from n6convert.errors import N6ConvertError
from n6convert.plugin import BuildRequest, Weights
from n6convert.runtime.session import run_model

from . import yolo

#: model, rows of the parts, bins
HEADS = {
    "YOLOv8, YOLO11": (yolo.yolo8(), [4, 6], 16),
    "YOLO26": (yolo.yolo8(bins=False), [4, 6], 0),
    "YOLOv10 with its selection": (yolo.end_to_end(bins=True), [4, 6], 16),
    "YOLO26 with its selection": (yolo.end_to_end(bins=False), [4, 6], 0),
    "pose": (yolo.pose(), [4, 1, 2, 1], 16),
    "YOLOv5": (yolo.yolo5(), [2, 2, 7] * 3, 0),
}


def prepared(model: ir.Model) -> ir.Model:
    copy = model.clone()
    settle_shapes(copy)
    return copy


@pytest.mark.parametrize("name", HEADS)
def test_heads_are_recognized_and_cut_in_parts(name: str) -> None:
    model, rows, bins = HEADS[name]
    head = find_yolo_head(prepared(model))
    assert head is not None and head.strides == yolo.STRIDES and head.bins == bins
    assert len(head.outputs) == len(rows) and ("TopK" in head.note) == ("selection" in name)
    image = {"images": np.random.default_rng(0).random((1, 3, yolo.SIZE, yolo.SIZE)).astype(np.float32)}
    parts = model.clone()
    cut(parts, head.outputs)
    values = list(run_model(parts, image).values())
    pixels = [v for v, (_, low, high) in zip(values, head.spans, strict=True) if (low, high) != (0.0, 1.0)]
    assert pixels and all(np.abs(v).max() > 8 for v in pixels)
    assert {n for n in rows if n in {d for v in values for d in v.shape}} == set(rows)
    if "selection" not in name and name not in ("YOLOv5", "pose"):
        np.testing.assert_allclose(np.concatenate(values, 1), next(iter(run_model(model, image).values())), rtol=1e-5)


@pytest.mark.parametrize("other", ["grid_free", "in_shares", "coordinates_in_front"])
def test_what_is_no_head_or_needs_no_cut(other: str) -> None:
    assert find_yolo_head(prepared(getattr(yolo, other)())) is None


def test_ordinary_classifiers_have_none(data_dir: Path) -> None:
    assert find_yolo_head(prepared(ir.load(data_dir / "weights" / "mobilenet_v2_1.0_224_float.onnx"))) is None


@pytest.mark.parametrize("name", ["yolov8n_640_coco80_float", "yolov8n_pose_256_float"])
def test_exports_with_coordinates_as_shares_keep_their_output(name: str, data_dir: Path) -> None:
    assert find_yolo_head(prepared(ir.load(data_dir / "weights" / f"{name}.onnx"))) is None


def test_from_export_to_package(tmp_path: Path) -> None:
    path = tmp_path / "yolo26.onnx"
    ir.save(yolo.end_to_end(bins=False), path)
    folder = tmp_path / "c"
    folder.mkdir()
    for index in range(4):
        image = np.random.default_rng(index).random((1, 3, yolo.SIZE, yolo.SIZE)).astype(np.float32)
        np.savez(folder / f"{index}.npz", images=image)
    settings = {"options.samples": "arrays"}
    result = convert(str(path), calibration=folder, output=tmp_path / "out", settings=settings)
    text = next(t for t in result.warnings if "YOLO head recognized" in t)
    assert "strides 8, 16, 32" in text and "options.head=keep" in text
    assert len(ir.load(result.model_path).graph.outputs) == 2
    with pytest.raises(N6ConvertError):
        convert(str(path), calibration=folder, output=tmp_path / "b", settings=settings | {"options.head": "keep"})


def test_outputs_named_by_the_user_win(tmp_path: Path) -> None:
    path = tmp_path / "yolo.onnx"
    ir.save(yolo.yolo8(), path)
    request = BuildRequest(Weights("file", path, "", str(path)), 0, tmp_path)
    kept = OnnxFile("onnx", OnnxOptions(head="keep")).build(request).model
    name = next(n.outputs[0].name for n in kept.graph if n.op_type == "Softmax")
    built = OnnxFile("onnx", OnnxOptions(outputs=[name])).build(request)
    assert [v.name for v in built.model.graph.outputs] == [name] and "note" not in built.metadata
    assert [v.name for v in kept.graph.outputs] == [yolo.yolo8().graph.outputs[0].name]
