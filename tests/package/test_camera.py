"""What is said about a camera in front of the model at hand."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from n6convert.linter import Severity
from n6convert.package.application import app_config
from n6convert.package.camera import probe_camera
from n6convert.package.ports import Port
from n6convert.plugin import ModelInfo, ModelPlugin, PluginOptions, TensorInfo

MEAN, STD = 0.45, 0.22


class Net(ModelPlugin):
    """Crops, pads or stretches; RGB or BGR; 0..1 or normalized."""

    sample_kind = "image"
    how, bgr, normalized, size = "stretch", False, False, (64, 64)

    def build(self, request):
        raise NotImplementedError

    def encode(self, sample):
        height, width = self.size
        image = Image.fromarray(sample.data)
        if self.how == "crop":
            side = min(image.width / width, image.height / height)
            w, h = side * width, side * height
            left, top = (image.width - w) / 2, (image.height - h) / 2
            image = image.crop((round(left), round(top), round(left + w), round(top + h)))
        if self.how == "pad":
            scale = min(width / image.width, height / image.height)
            small = image.resize((round(image.width * scale), round(image.height * scale)))
            image = Image.new("RGB", (width, height), (114, 114, 114))
            image.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
        x = np.asarray(image.resize((width, height)), np.float64)[..., :: -1 if self.bgr else 1] / 255
        return {"x": (((x - MEAN) / STD) if self.normalized else x).transpose(2, 0, 1)[None]}


def camera(dtype="uint8", scale=1 / 255, zero=-128, **facts):
    net = type("Made", (Net,), facts)("net", PluginOptions())
    height, width = net.size
    found = probe_camera(net, [Port("x", (1, 3, height, width), scale, zero, True).compiled_as(dtype)])
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("how", "mode", "words"),
    [
        ("crop", "CROP", "cut to 64:64 and shrunk"),
        ("pad", "CROP", "with 114"),
        ("stretch", "FIT", "stretched to 64 x 64"),
    ],
)
def test_the_framing_is_seen(how, mode, words):
    found = camera(how=how)
    assert (found.framing, found.padding) == (how, 114 if how == "pad" else 0)
    assert any(words in note for note in found.notes())
    text = app_config("n6_m", "m.onnx", found, [])
    assert f"#define ASPECT_RATIO_MODE ASPECT_RATIO_{mode}\n" in text
    assert words in text
    assert [f.rule for f in found.findings()] == (["camera-framing"] if how == "pad" else [])


def test_other_sides_and_padding_at_one_end():
    assert camera(how="crop", size=(48, 96)).framing == "crop"
    assert camera(how="pad", size=(96, 48)).framing == "pad"
    assert camera(how="stretch", size=(48, 80)).framing == "stretch"


def test_rows_order_and_bytes():
    plain = camera(how="crop")
    assert any("rows of 192 bytes are a multiple of 16" in note for note in plain.notes())
    assert "the camera's bytes are the input as they are" in plain.notes()
    odd = camera(how="crop", size=(50, 50), bgr=True)
    assert any("rows of 150 bytes are no multiple of 16: capture rows of 160" in note for note in odd.notes())
    assert any("order BGR" in note for note in odd.notes())
    assert "#define COLOR_MODE COLOR_BGR" in app_config("n6_m", "m.onnx", odd, [])


@pytest.mark.parametrize(
    ("facts", "found", "remedy"),
    [
        ({"dtype": "int8"}, "subtracts 128", "package.input_type=uint8"),
        ({"dtype": "float32"}, "float32 input: the CPU applies gain", "package.input_type=uint8"),
        ({"normalized": True, "scale": 0.02, "zero": 4}, "uint8 input: the CPU applies gain", "normalization inside"),
    ],
)
def test_what_costs_the_cpu_a_pixel_is_said_with_the_remedy(facts, found, remedy):
    (finding,) = camera(how="crop", **facts).findings()
    assert (finding.rule, finding.severity) == ("camera-pixels", Severity.INFO)
    assert found in finding.found and remedy in finding.remedy


def test_planes_are_work_for_the_cpu():
    net = type("Made", (Net,), {"how": "crop", "size": (48, 80)})("net", PluginOptions())
    planes = Port("x", (1, 3, 48, 80), 1 / 255, -128, channel_last=False).compiled_as("uint8")
    found = probe_camera(net, [planes])
    assert found is not None
    assert (found.size, [f.rule for f in found.findings()]) == ((48, 80, 3), ["camera-planes"])
    assert "#define NN_WIDTH (80)" in app_config("n6_m", "m.onnx", found, [])
    assert any("one plane per channel" in note for note in found.notes())
    assert camera(how="crop", size=(48, 80)).interleaved


def test_nothing_is_said_where_no_camera_is():
    net = type("Made", (Net,), {"sample_kind": "arrays"})("net", PluginOptions())
    assert probe_camera(net, [Port("x", (1, 3, 64, 64), 1 / 255, -128, True)]) is None


def test_a_real_plugin():
    pytest.importorskip("n6convert_yolov8")
    from n6convert_yolov8.options import YoloOptions
    from n6convert_yolov8.plugin import YoloDetect

    plugin = YoloDetect("yolov8n", YoloOptions(imgsz=64))
    plugin.info = ModelInfo((TensorInfo("images", (1, 3, 64, 64), "float32"),), (), {})
    found = probe_camera(plugin, [Port("images", (1, 3, 64, 64), 1 / 255, -128, True).compiled_as("uint8")])
    assert found is not None
    assert (found.framing, found.padding, found.pixels.order) == ("pad", 114, "RGB")


def test_a_conversion_reports_it(toy):
    from n6convert import convert

    result = convert("toy", weights="seeded", output=toy / "out", settings={"simplify.onnxsim": False})
    card = (toy / "out" / "README.md").read_text()
    rules = {finding["rule"] for finding in result.report.model_dump(mode="json")["lint"]}
    assert ("## Camera" in card) == (toy / "out" / "n6_toy_app_config.h").exists()
    assert "camera-rows" not in rules, "its rows are whole"
