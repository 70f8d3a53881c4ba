"""The generated C finds what Python finds, on real images."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n6convert.numerics import Session
from n6convert.package.csource import interface_header, interface_source
from n6convert.package.ports import Port
from n6convert.plugin import BuildRequest, Sample, Weights
from n6convert.stages.base import interface_of

pytest.importorskip("n6convert_yolov8")
from n6convert_yolov8.decode import decode_head
from n6convert_yolov8.detections import placed, suppress
from n6convert_yolov8.options import YoloOptions
from n6convert_yolov8.plugin import YoloDetect, YoloPose

STEM = "n6_yolo"
CONFIDENCE, IOU, CAPACITY = 0.2, 0.6, 100
TYPES = ("int8", "uint8", "float32")


def built(kind, name, weights, tmp_path, **options):
    plugin = kind(name, YoloOptions(imgsz=256, **options))
    made = plugin.build(BuildRequest(weights, 0, tmp_path))
    made.model.metadata_props.update(made.metadata)
    plugin.info = interface_of(made.model)
    return plugin, Session(made.model)


def found_by_c(library, plugin, ports, outputs):
    points = plugin._keypoints()
    count = points[0] if points else 0

    class Detection(ctypes.Structure):
        _fields_ = [
            ("box", ctypes.c_float * 4), ("score", ctypes.c_float), ("label", ctypes.c_int32),
            *([("points", ctypes.c_float * 3 * count)] if count else []),
        ]  # fmt: skip

    buffers = [port.to_board(outputs[port.name]) for port in ports]
    pointers = (ctypes.c_void_p * len(ports))(*[b.ctypes.data for b in buffers])
    scratch = (ctypes.c_byte * (12 * sum((256 // s) ** 2 for s in (8, 16, 32))))()
    found = (Detection * CAPACITY)()
    decode = getattr(library, f"{STEM}_decode")
    number = decode(pointers, ctypes.c_float(CONFIDENCE), ctypes.c_float(IOU), scratch, found, CAPACITY)
    return found[:number]


def found_by_python(plugin, ports, outputs):
    real = {port.name: port.from_board(port.to_board(outputs[port.name])) for port in ports}
    candidates = decode_head(real, (256, 256), plugin._facts())
    iou = None if plugin._end2end() else IOU
    return placed(candidates, suppress(candidates, confidence=CONFIDENCE, iou=iou, limit=CAPACITY), (256, 256))


def images(folder: Path, count: int):
    for path in sorted(folder.glob("*.jpg"))[:count]:
        yield Sample(path.name, np.asarray(Image.open(path).convert("RGB")))


def test_c_agrees_with_python_on_real_images(data_dir, tmp_path, compile_c, int8_ports):
    weights = Weights("file", data_dir / "weights" / "yolov8n.pt")
    plugin, session = built(YoloDetect, "yolov8n", weights, tmp_path)
    compare(plugin, session, images(data_dir / "images" / "coco_det", 12), tmp_path, compile_c, int8_ports, least=20)


def test_c_agrees_with_python_on_keypoints(data_dir, tmp_path, compile_c, int8_ports):
    source = data_dir / "weights" / "yolov8n_pose_256_float.onnx"
    plugin, session = built(YoloPose, "yolov8n-pose", Weights("file", source), tmp_path)
    compare(plugin, session, images(data_dir / "images" / "coco_kpt", 12), tmp_path, compile_c, int8_ports, least=8)


def compare(plugin, session, samples, folder, compile_c, int8_ports, least):
    found = 0
    for seen, sample in enumerate(samples):
        outputs = session.run(plugin.encode(sample))
        plain = int8_ports(outputs)
        codes = {port.name: port.from_board(port.to_board(outputs[port.name])) for port in plain}
        ports = [port.compiled_as(TYPES[seen % 3]) for port in plain]
        firmware = plugin.firmware(STEM, [], ports)
        header = interface_header(STEM, [], ports, None, firmware.defines)
        place = folder / sample.id
        place.mkdir()
        tables = {f"{STEM}.h": header, f"{STEM}.c": interface_source(STEM, [], ports)}
        library = compile_c(place, firmware.sources | tables)
        c, python = found_by_c(library, plugin, ports, codes), found_by_python(plugin, plain, outputs)
        assert len(c) == len(python)
        assert [d.label for d in c] == python.classes.tolist()
        np.testing.assert_allclose([d.score for d in c], python.scores, atol=1e-5)
        np.testing.assert_allclose(np.array([list(d.box) for d in c]).reshape(-1, 4), python.boxes, atol=1e-2)
        if python.keypoints is not None and len(c):
            np.testing.assert_allclose([np.array(d.points) for d in c], python.keypoints, atol=1e-2)
        found += len(c)
    assert found >= least, f"only {found} detections: the comparison says nothing"


def test_full_head_gets_st_post_processing(tmp_path):
    plugin, session = built(YoloDetect, "yolov8n", Weights("seeded"), tmp_path, head="full")
    output = next(iter(plugin.info.outputs))
    port = Port(output.name, output.shape, 0.005, -128, channel_last=False)
    text = plugin.firmware(STEM, [], [port]).configuration["postprocess_conf.h"]
    assert "POSTPROCESS_TYPE POSTPROCESS_OD_YOLO_V8_UI" in text
    assert "AI_OD_YOLOV8_PP_TOTAL_BOXES (1344)" in text
    assert "AI_OD_YOLOV8_PP_NB_CLASSES (80)" in text
    for dtype, kind, zero_point in (("float32", "OD_YOLO_V8_UF", 0), ("uint8", "CUSTOM", 0)):
        text = plugin.firmware(STEM, [], [port.compiled_as(dtype)]).configuration["postprocess_conf.h"]
        assert f"POSTPROCESS_TYPE POSTPROCESS_{kind}\n" in text
        assert f"ZERO_POINT ({zero_point})" in text
