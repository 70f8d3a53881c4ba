"""Types of the input and output buffers: every file of a package says the same, down to the decoded boxes."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from n6convert import convert
from n6convert.api import make_draft
from n6convert.fitting.resident import Resident
from n6convert.graph.interface import interface_of
from n6convert.npu import estimate
from n6convert.npu.options import of_recipe
from n6convert.npu.targets import load_target
from n6convert.package import PackageRequest, write_package
from n6convert.package.ports import read_ports
from n6convert.package.tolerance import rounding_tolerances
from n6convert.recipe.checking import finish
from n6convert.recipe.schema import PackageConfig, Recipe
from n6convert.recipe.writing import recipe_schema
from n6convert.registry import load_plugin
from n6convert.results import Report
from n6convert.runtime.session import run_model

pytest.importorskip("n6convert_yolov8")
from n6convert_yolov8.decode import decode_head
from n6convert_yolov8.detections import placed, suppress

TYPES = ("uint8", "int8", "float32")
COMBINATIONS = [(given, made) for given in TYPES for made in TYPES]
SIZE, CAPACITY, IOU = 64, 100, 0.6
ELEMENTS = {"int8": ctypes.c_int8, "uint8": ctypes.c_uint8, "float32": ctypes.c_float}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("types") / "out"
    return convert("yolov8n", weights="seeded", imgsz=SIZE, calibration={"samples": 8}, output=folder)


@pytest.fixture(scope="module")
def full_head(tmp_path_factory: pytest.TempPathFactory):
    return convert(
        "yolov8n", weights="seeded", imgsz=SIZE, head="full", calibration={"samples": 4},
        settings={"quantization.effort": "fast"}, output=tmp_path_factory.mktemp("types") / "full",
    )  # fmt: skip


@pytest.fixture(scope="module")
def request_for(converted):
    return requests_of(converted)


@pytest.fixture(scope="module")
def full_head_request(full_head):
    return requests_of(full_head)


def requests_of(converted):
    """``requests_of(converted)(types)``: the request that the package stage made, for other types."""
    model = ir.load(next(converted.folder.glob("*.onnx")))
    kind = load_plugin("yolov8n")
    plugin = kind("yolov8n", kind.Options(imgsz=SIZE))
    plugin.info = interface_of(model)
    feeds = {"images": np.random.default_rng(3).uniform(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32)}
    feeds = {model.graph.inputs[0].name: feeds["images"]}
    report = converted.report.model_dump(mode="json", by_alias=True)

    def made(types: tuple[str, str]) -> PackageRequest:
        expected = run_model(model, feeds)
        return PackageRequest(
            model=model, model_file="m.onnx", name="yolov8n", types=types, plugin=plugin,
            targets=[load_target("stm32n6570-dk@4.0")], feeds=feeds, expected=expected,
            tolerances=rounding_tolerances(model, read_ports(model)[1], feeds, expected), sample="noise",
            report=Report.model_validate(report),
        )  # fmt: skip

    return made


class Detection(ctypes.Structure):
    _fields_ = [("box", ctypes.c_float * 4), ("score", ctypes.c_float), ("label", ctypes.c_int32)]


@pytest.mark.parametrize("types", COMBINATIONS, ids="-".join)
def test_from_codes_to_boxes(types, request_for, tmp_path, compile_c):
    """The self-test's input, as the buffer holds it, gives its outputs, and C decodes them to what Python decodes."""
    request = request_for(types)
    write_package(tmp_path, request)
    check_words(tmp_path, request.model, types)
    sources = {path.name: path.read_text() for path in tmp_path.iterdir() if path.suffix in (".c", ".h")}
    sources = {n: text for n, text in sources.items() if not n.endswith("_run.c") and not n.startswith("app_post")}
    library = compile_c(tmp_path, sources)
    inputs, outputs = (
        [p.compiled_as(t) for p in ports] for ports, t in zip(read_ports(request.model), types, strict=True)
    )
    image = stored(library, "input", 0, inputs[0])
    answers = run_model(request.model, {inputs[0].name: inputs[0].from_board(image)})
    buffers = [stored(library, "output", i, port) for i, port in enumerate(outputs)]
    for buffer, port in zip(buffers, outputs, strict=True):
        np.testing.assert_array_equal(buffer, port.to_board(answers[port.name]).reshape(-1))
    candidates = decode_head(answers, (SIZE, SIZE))
    confidence = float(np.sort(candidates.scores.max(1) if candidates.scores.ndim > 1 else candidates.scores)[-20])
    kept = suppress(candidates, confidence=confidence, iou=IOU, limit=CAPACITY)
    python = placed(candidates, kept, (SIZE, SIZE))
    c = decoded(library, buffers, confidence)
    assert len(c) == len(python) >= 5
    assert [d.label for d in c] == python.classes.tolist()
    np.testing.assert_allclose([d.score for d in c], python.scores, atol=1e-6)
    np.testing.assert_allclose([list(d.box) for d in c], python.boxes, atol=1e-3)


READER = """
#include "n6_yolov8n.h"
#include "postprocess_conf.h"
void read_output(const n6_yolov8n_output_t *q, float *real)
{
  for (int i = 0; i < (AI_OD_YOLOV8_PP_NB_CLASSES + 4) * AI_OD_YOLOV8_PP_TOTAL_BOXES; i++)
    real[i] = AI_OD_YOLOV8_PP_SCALE * ((float)q[i] - (float)AI_OD_YOLOV8_PP_ZERO_POINT);
}
"""


@pytest.mark.parametrize("types", COMBINATIONS, ids="-".join)
def test_the_full_head_from_codes_to_boxes(types, full_head_request, tmp_path, compile_c):
    """C that reads the buffer by the grid of ``postprocess_conf.h`` has the boxes that Python has."""
    request = full_head_request(types)
    write_package(tmp_path, request)
    names = ("n6_yolov8n.h", "n6_yolov8n.c", "n6_yolov8n_selftest.h", "n6_yolov8n_selftest.c", "postprocess_conf.h")
    library = compile_c(tmp_path, {name: (tmp_path / name).read_text() for name in names} | {"reader.c": READER})
    plain, port = (read_ports(request.model)[1][0].compiled_as(t) for t in ("int8", types[1]))
    codes, real = stored(library, "output", 0, port), np.zeros(port.graph_shape, np.float32)
    library.read_output(codes.ctypes.data_as(ctypes.c_void_p), real.ctypes.data_as(ctypes.c_void_p))
    expected = plain.from_board(plain.to_board(request.expected[port.name]))
    np.testing.assert_allclose(real, expected, atol=1e-6)
    c, python = (boxes_of({port.name: values}) for values in (real, expected))
    assert len(c) == len(python) >= 5
    np.testing.assert_array_equal(c.classes, python.classes)
    np.testing.assert_allclose(c.boxes, python.boxes, atol=1e-3)


def boxes_of(outputs):
    candidates = decode_head(outputs, (SIZE, SIZE))
    confidence = float(np.sort(candidates.scores.max(1))[-20])
    return placed(candidates, suppress(candidates, confidence=confidence, iou=IOU, limit=CAPACITY), (SIZE, SIZE))


def check_words(folder, model, types):
    """Command, header and model card."""
    command = json.loads((folder / "stedgeai.json").read_text())["command"]
    for option, wanted in zip(("--input-data-type", "--output-data-type"), types, strict=True):
        assert command[command.index(option) + 1] == wanted
        assert f"{option} {wanted}" in (folder / "generate.sh").read_text()
        assert f"{option} {wanted}" in (folder / "generate.bat").read_text()
    header, card = ((folder / name).read_text() for name in ("n6_yolov8n.h", "README.md"))
    words = {"int8": "int8_t", "uint8": "uint8_t", "float32": "float"}
    assert f"typedef {words[types[0]]} n6_yolov8n_input_t;" in header
    assert f"typedef {words[types[1]]} n6_yolov8n_output_t;" in header
    (image,), (first, *_) = read_ports(model)
    for plain, kind, dtype in ((image, "INPUT", types[0]), (first, "OUTPUT", types[1])):
        zero = {"int8": plain.zero_point, "uint8": plain.zero_point + 128, "float32": 0}[dtype]
        assert f"#define N6_YOLOV8N_{kind}_0_ZERO_POINT ({zero})" in header
        assert f"| {dtype} {'x'.join(map(str, plain.board_shape))} |" in card
    assert f"PIXEL_IS_COPY ({int(types[0] == 'uint8')})" in header
    assert f"PIXEL_IS_SHIFT ({int(types[0] == 'int8')})" in header


def stored(library, kind, index, port):
    return np.array((ELEMENTS[port.dtype] * port.elements).in_dll(library, f"n6_yolov8n_selftest_{kind}_{index}"))


def decoded(library, buffers, confidence):
    scratch = (ctypes.c_byte * (12 * sum((SIZE // s) ** 2 for s in (8, 16, 32))))()
    found = (Detection * CAPACITY)()
    pointers = (ctypes.c_void_p * len(buffers))(*[b.ctypes.data for b in buffers])
    grid = (ctypes.c_float(confidence), ctypes.c_float(IOU))
    return found[: library.n6_yolov8n_decode(pointers, *grid, scratch, found, CAPACITY)]


def test_the_estimate_counts_the_conversions(converted):
    model = ir.load(next(converted.folder.glob("*.onnx")))
    found = {}
    for types in COMBINATIONS:
        recipe = Recipe(model="x", package=PackageConfig(input_type=types[0], output_type=types[1]))
        placement = estimate(model, recipe.target, options=of_recipe(recipe)).facts()["placement"]
        shown = [(o["op"], str(o["where"])) for o in placement["operators"] if "/QuantizeLinear" in o["name"]]
        found[types] = (placement["epochs"]["sw"], shown.count(("Add", "hw")))
    assert found["int8", "int8"] == (0, 0)
    assert found["uint8", "int8"] == (0, 1)
    assert found["float32", "int8"] == (1, 0)
    assert found["int8", "uint8"] == (0, 6)
    assert found["uint8", "float32"] == (6, 1)
    operators = converted.report.model_dump(mode="json")["placement"]["after"]["operators"]
    assert sum("/QuantizeLinear" in o["name"] and o["op"] == "Add" for o in operators) == 1


def test_results_are_counted_in_their_type(converted):
    report = converted.report.model_dump(mode="json", by_alias=True)
    plain = Resident.of(Report.model_validate(report)).results
    for key, factor in (("output_type", 4), ("io_type", 4), ("input_type", 1)):
        report["recipe"]["package"] = {key: "float32"}
        assert Resident.of(Report.model_validate(report)).results == factor * plain


def test_the_old_key_still_sets_both(tmp_path: Path):
    with pytest.warns(DeprecationWarning, match=r"package\.input_type and package\.output_type"):
        package = PackageConfig.model_validate({"io_type": "float32"})
    assert (package.input_type, package.output_type) == ("float32", "float32")
    with pytest.warns(DeprecationWarning):
        package = PackageConfig.model_validate({"io_type": "uint8", "output_type": "int8"})
    assert (package.input_type, package.output_type) == ("uint8", "int8")
    assert (PackageConfig().input_type, PackageConfig().output_type) == ("uint8", "int8")
    assert "io_type" not in json.dumps(recipe_schema())
    draft = make_draft("yolov8n")
    draft.set(("package", "io_type"), "int8", "--set package.io_type=int8")
    with pytest.warns(DeprecationWarning):
        assert finish(draft).package.input_type == "int8"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_run_with_the_old_key_says_so(tmp_path, converted):
    result = convert(
        "yolov8n", weights="seeded", imgsz=SIZE, calibration={"samples": 8}, output=tmp_path / "out",
        settings={"package.io_type": "int8"},
    )  # fmt: skip
    assert any("package.io_type: this key is old" in warning for warning in result.warnings)
    assert (result.report.recipe["package"]["input_type"], result.report.recipe["package"]["output_type"]) == (
        "int8",
    ) * 2
