"""The generated C finds what Python finds, on real images."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board_compilers import COMPILERS, compile_objects, shared_object, stai_header
from PIL import Image

from n6convert.graph.interface import interface_of
from n6convert.package.application import app_config
from n6convert.package.camera import Camera
from n6convert.package.csource import interface_header, interface_source
from n6convert.package.normalization import PixelMap
from n6convert.package.ports import Port
from n6convert.package.runtime import runtime_sources
from n6convert.plugin import BuildRequest, Sample, Weights
from n6convert.runtime.session import Session
from n6convert.samples.synthetic import dead_leaves

pytest.importorskip("n6convert_yolov8")
from n6convert_yolov8.classify import YoloClassify
from n6convert_yolov8.decode import decode_head
from n6convert_yolov8.detections import placed, suppress
from n6convert_yolov8.firmware import classifier
from n6convert_yolov8.options import ClassifyOptions, YoloOptions
from n6convert_yolov8.plugin import YoloDetect, YoloOriented, YoloPose, YoloSegment

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


def without_adapter(sources):
    """C that needs no header of ST's."""
    return {name: text for name, text in sources.items() if not name.startswith("app_postprocess")}


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
        library = compile_c(place, without_adapter(firmware.sources) | tables)
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
        assert ("--set package.output_type=int8" in text) == ("--set options.head=cut" in text) == (dtype == "uint8")


@pytest.mark.parametrize(("head", "dtype"), [("cut", "int8"), ("full", "uint8"), ("cut", "float32")])
def test_c_ranks_classes_as_python_does(head, dtype, tmp_path, compile_c, int8_ports):
    plugin = YoloClassify("yolo11n-cls", ClassifyOptions(imgsz=64, head=head))
    made = plugin.build(BuildRequest(Weights("seeded"), 0, tmp_path))
    made.model.metadata_props.update(made.metadata)
    plugin.info = interface_of(made.model)
    outputs = Session(made.model).run(plugin.encode(Sample("x", dead_leaves((90, 70), (0, 5)))))
    ports = [replace(port.compiled_as(dtype), channel_last=False) for port in int8_ports(outputs)]
    firmware = plugin.firmware(STEM, [], ports)
    header = interface_header(STEM, [], ports, None, firmware.defines)
    tables = {f"{STEM}.h": header, f"{STEM}.c": interface_source(STEM, [], ports)}
    library = compile_c(tmp_path, firmware.sources | tables)
    buffer = ports[0].to_board(outputs[ports[0].name])
    real = ports[0].from_board(buffer).ravel().astype(np.float64)
    expected = np.exp(real - real.max()) / np.exp(real - real.max()).sum() if head == "cut" else real

    class Best(ctypes.Structure):
        _fields_ = [("label", ctypes.c_int32), ("probability", ctypes.c_float)]

    best = (Best * 7)()
    pointers = (ctypes.c_void_p * 1)(buffer.ctypes.data)
    assert getattr(library, f"{STEM}_classify")(pointers, best, 7) == 7
    order = np.argsort(-real, kind="stable")[:7]
    assert [b.label for b in best] == order.tolist()
    np.testing.assert_allclose([b.probability for b in best], expected[order], rtol=1e-4, atol=1e-6)
    assert list(plugin.decode({ports[0].name: ports[0].from_board(buffer)}).indices) == order[:5].tolist()
    assert getattr(library, f"{STEM}_classify")(pointers, best, 0) == 0


@pytest.mark.parametrize("names", [["cat", 'a "dog"'], []])
def test_a_classifier_gives_st_application_its_class_table(names):
    firmware = classifier(STEM, Port("logits", (1, 2), 0.1, 0, channel_last=False), names=names, logits=True)
    table = '#define CLASSES_TABLE const char* classes_table[NB_CLASSES] = {"cat", "a \\042dog\\042"}'
    assert firmware.application == (["#define NB_CLASSES (2)", table] if names else [])


def detection_fields(points, masks, oriented):
    """A detection's structure by what the network gives."""
    angle = [("angle", ctypes.c_float)] if oriented else []
    fields = [("box", ctypes.c_float * 4), *angle, ("score", ctypes.c_float), ("label", ctypes.c_int32)]
    fields += [("points", ctypes.c_float * 3 * points)] if points else []
    fields += [("mask", ctypes.c_float * masks)] if masks else []
    return type("Detection", (ctypes.Structure,), {"_fields_": fields})


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("yolo26n", "int8"), ("yolo26n-pose", "uint8"), ("yolo11n-pose", "int8"), ("yolo11n-seg", "int8"),
        ("yolov8n-seg", "uint8"), ("yolov8n-obb", "int8"), ("yolo26n-obb", "uint8"),
    ],
)  # fmt: skip
def test_c_agrees_with_python_for_every_task(name, dtype, tmp_path, compile_c, int8_ports):
    """The best thirty answers of a seeded network on one picture: boxes, angles, points, masks pixel by pixel."""
    size = (64, 96)
    plugin, session = seeded(name, size, tmp_path)
    sample = Sample("x", dead_leaves(size, (0, 3)))
    outputs = session.run(plugin.encode(sample))
    ports = [port.compiled_as(dtype) for port in int8_ports(outputs)]
    firmware = plugin.firmware(STEM, [], ports)
    header = interface_header(STEM, [], ports, None, firmware.defines)
    tables = {f"{STEM}.h": header, f"{STEM}.c": interface_source(STEM, [], ports)}
    library = compile_c(tmp_path, without_adapter(firmware.sources) | tables)
    real = {port.name: port.from_board(port.to_board(outputs[port.name])) for port in ports}
    candidates = decode_head(real, size, plugin._facts())
    confidence = float(np.sort(candidates.scores.max(1))[-30])
    kept = suppress(candidates, confidence=confidence, iou=None if plugin._end2end() else IOU, limit=CAPACITY)
    python = placed(candidates, kept, size)

    points = plugin._keypoints()
    kind = detection_fields(points[0] if points else 0, 32 if "seg" in name else 0, "obb" in name)
    buffers = [port.to_board(outputs[port.name]) for port in ports]
    pointers = (ctypes.c_void_p * len(ports))(*[b.ctypes.data for b in buffers])
    scratch, found = (ctypes.c_byte * (12 * len(candidates.boxes)))(), (kind * CAPACITY)()
    count = getattr(library, f"{STEM}_decode")(
        pointers, ctypes.c_float(confidence), ctypes.c_float(IOU), scratch, found, CAPACITY
    )
    assert count == len(python) >= 5
    c = found[:count]
    assert [d.label for d in c] == python.classes.tolist()
    np.testing.assert_allclose([d.score for d in c], python.scores, atol=1e-5)
    if python.corners is None:
        np.testing.assert_allclose([list(d.box) for d in c], python.boxes, atol=1e-2)
    else:
        np.testing.assert_allclose([corners_by_c(library, d) for d in c], python.corners, atol=1e-2)
    if python.keypoints is not None:
        np.testing.assert_allclose([np.array(d.points) for d in c], python.keypoints, atol=1e-2)
    if python.masks is not None:
        masks = np.array([mask_by_c(library, pointers, d, size) for d in c])
        assert masks.any() and not masks.all()
        assert np.count_nonzero(masks != python.masks) <= 1e-4 * masks.size  # where a sum is zero but for rounding


def seeded(name, size, tmp_path):
    kind = {"pose": YoloPose, "seg": YoloSegment, "obb": YoloOriented}.get(name.partition("-")[2], YoloDetect)
    plugin = kind(name, YoloOptions(imgsz=size))
    made = plugin.build(BuildRequest(Weights("seeded"), 0, tmp_path))
    made.model.metadata_props.update(made.metadata)
    plugin.info = interface_of(made.model)
    return plugin, Session(made.model)


def corners_by_c(library, detection):
    corners = (ctypes.c_float * 2 * 4)()
    getattr(library, f"{STEM}_corners")(ctypes.byref(detection), corners)
    return np.array(corners)


def mask_by_c(library, pointers, detection, size):
    mask = np.full(size, 7, np.uint8)
    place = mask.ctypes.data_as(ctypes.c_void_p)
    getattr(library, f"{STEM}_mask")(pointers, ctypes.byref(detection), place, *size)
    assert set(np.unique(mask)) <= {0, 1}
    return mask.astype(bool)


KINDS = [(YoloDetect, "yolov8n"), (YoloPose, "yolov8n-pose"), (YoloDetect, "yolo26n")]


def application(kind, name, tmp_path, int8_ports, core):
    """A seeded model's package for ST's application: plugin, ports, outputs and sources."""
    plugin = kind(name, YoloOptions(imgsz=64, max_detections=30))
    made = plugin.build(BuildRequest(Weights("seeded"), 0, tmp_path))
    made.model.metadata_props.update(made.metadata)
    plugin.info = interface_of(made.model)
    image = np.random.default_rng(0).uniform(0, 1, (1, 3, 64, 64)).astype(np.float32)
    outputs = Session(made.model).run({next(iter(plugin.info.inputs)).name: image})
    ports = int8_ports(outputs)
    real = {port.name: port.from_board(port.to_board(outputs[port.name])) for port in ports}
    tenth = float(np.sort(decode_head(real, (64, 64), plugin._facts()).scores, axis=None)[-10])
    plugin.options = plugin.options.model_copy(update={"confidence": 0.999 * tenth})
    camera = Port("images", (1, 3, 64, 64), 1 / 255, -128, True).compiled_as("uint8")
    firmware = plugin.firmware(STEM, [camera], ports)
    pixels = PixelMap("RGB", (1.0,) * 3, (0.0,) * 3)
    sources = dict(firmware.sources) | {
        f"{STEM}.h": interface_header(STEM, [camera], ports, pixels, firmware.defines),
        f"{STEM}.c": interface_source(STEM, [camera], ports),
        f"{STEM}_app_config.h": app_config(STEM, name, Camera(camera, pixels, "pad", 114), firmware.application),
        "app_config.h": f'#include "{STEM}_app_config.h"\n',
        "stai_yolo.h": stai_header("yolo", [camera.size], [port.size for port in ports]),
    }
    running = runtime_sources(STEM, "yolo", [camera], ports, version={2: (2, 1), 4: (4, 0)}[core])
    return plugin, ports, outputs, sources | {name: text for name, text in running.items() if name.endswith("_run.h")}


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_the_adapter_compiles_for_both_generations_of_applications(kind, name, compiler, tmp_path, int8_ports):
    for core in (2, 4):
        _, _, _, sources = application(kind, name, tmp_path, int8_ports, core)
        compile_objects(compiler, tmp_path, sources, core=core)


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_the_adapter_hands_over_what_the_decoder_found(kind, name, tmp_path, int8_ports):
    plugin, ports, outputs, sources = application(kind, name, tmp_path, int8_ports, 4)
    library = shared_object(tmp_path, sources)
    real = {port.name: port.from_board(port.to_board(outputs[port.name])) for port in ports}
    candidates = decode_head(real, (64, 64), plugin._facts())
    iou = None if plugin._end2end() else 0.7
    kept = suppress(candidates, confidence=plugin.options.confidence, iou=iou, limit=20)
    expected = placed(candidates, kept, (64, 64))

    class Box(ctypes.Structure):
        _fields_ = [
            ("values", ctypes.c_float * 5), ("label", ctypes.c_int32),
            *([("points", ctypes.POINTER(ctypes.c_float))] if expected.keypoints is not None else []),
        ]  # fmt: skip

    class Found(ctypes.Structure):
        _fields_ = [("boxes", ctypes.POINTER(Box)), ("count", ctypes.c_int32)]

    found, buffers = Found(), [port.to_board(outputs[port.name]) for port in ports]
    pointers = (ctypes.c_void_p * len(buffers))(*[b.ctypes.data for b in buffers])
    assert library.app_postprocess_init(None, None) == 0
    assert library.app_postprocess_run(pointers, len(buffers) - 1, ctypes.byref(found), None) == -1
    assert library.app_postprocess_run(pointers, len(buffers), ctypes.byref(found), None) == 0
    assert found.count == len(expected) >= 3
    boxes = np.asarray(expected.boxes) / 64
    for index in range(found.count):
        x, y, width, height, score = found.boxes[index].values
        np.testing.assert_allclose(
            [x - width / 2, y - height / 2, x + width / 2, y + height / 2], boxes[index], atol=1e-4
        )
        assert score == pytest.approx(expected.scores[index], abs=1e-5)
        assert found.boxes[index].label == expected.classes[index]
        if expected.keypoints is not None:
            points = np.ctypeslib.as_array(found.boxes[index].points, (17, 3))
            np.testing.assert_allclose(points, expected.keypoints[index] / [64, 64, 1], atol=1e-4)


def test_the_application_learns_size_classes_and_post_processing(tmp_path, int8_ports):
    text = application(YoloDetect, "yolov8n", tmp_path, int8_ports, 4)[3][f"{STEM}_app_config.h"]
    for line in ("NN_WIDTH (64)", "NN_HEIGHT (64)", "NN_BPP (3)", "COLOR_MODE COLOR_RGB", "NB_CLASSES (80)"):
        assert f"#define {line}\n" in text
    assert "#define POSTPROCESS_TYPE POSTPROCESS_CUSTOM" in text
    assert "#define AI_OD_PP_MAX_BOXES_LIMIT (20)" in text, "the display's arrays"
    assert 'classes_table[NB_CLASSES] = {"person", "bicycle"' in text
    assert "bytes are the input as they are" in text and "padded with 114" in text
