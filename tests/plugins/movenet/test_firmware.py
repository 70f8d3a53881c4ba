"""The generated C finds the keypoints that Python finds."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from board_compilers import COMPILERS, compile_objects, shared_object
from PIL import Image

pytest.importorskip("n6convert_movenet")
from n6convert_movenet.firmware import pose_firmware
from n6convert_movenet.plugin import MoveNet, MoveNetOptions
from n6convert_movenet.pose import decode_four_heads, decode_heatmaps

from n6convert.graph.interface import interface_of
from n6convert.package.csource import interface_header, interface_source
from n6convert.package.ports import Port
from n6convert.package.runtime import runtime_sources
from n6convert.plugin import BuildRequest, Sample, Weights
from n6convert.runtime.session import Session

STEM = "n6_movenet"


class Keypoint(ctypes.Structure):
    _fields_ = [("x", ctypes.c_float), ("y", ctypes.c_float), ("score", ctypes.c_float)]


def found_by_c(folder, compile_c, outputs, plain, dtype):
    ports = [port.compiled_as(dtype) for port in plain]
    outputs = real_again(outputs, plain)
    firmware = pose_firmware(STEM, ports)
    header = interface_header(STEM, [], ports, None, firmware.defines)
    tables = {f"{STEM}.h": header, f"{STEM}.c": interface_source(STEM, [], ports)}
    sources = {name: text for name, text in firmware.sources.items() if not name.startswith("app_postprocess")}
    library = compile_c(folder, sources | tables)
    buffers = [port.to_board(outputs[port.name]) for port in ports]
    pointers = (ctypes.c_void_p * len(ports))(*[b.ctypes.data for b in buffers])
    keypoints = outputs["heatmaps"].shape[1]
    found = (Keypoint * keypoints)()
    getattr(library, f"{STEM}_pose")(pointers, found)
    return np.array([[k.x, k.y, k.score] for k in found])


def real_again(outputs, ports):
    return {p.name: p.from_board(p.to_board(outputs[p.name])) for p in ports}


def test_heat_maps_of_a_real_network(data_dir, tmp_path, compile_c, int8_ports):
    plugin = MoveNet("movenet", MoveNetOptions())
    weights = Weights("file", data_dir / "weights" / "movenet_lightning_heatmaps_192_float.onnx")
    made = plugin.build(BuildRequest(weights, 0, tmp_path))
    made.model.metadata_props.update(made.metadata)
    plugin.info = interface_of(made.model)
    session = Session(made.model)
    for number, path in enumerate(sorted((data_dir / "images" / "lspet").glob("*.jpg"))[:4]):
        sample = Sample(path.name, np.asarray(Image.open(path).convert("RGB")))
        outputs = session.run(plugin.encode(sample))
        ports = int8_ports(outputs)
        folder = tmp_path / path.stem
        folder.mkdir()
        expected = decode_heatmaps(real_again(outputs, ports)["heatmaps"])
        dtype = ("int8", "uint8", "float32", "int8")[number]
        np.testing.assert_allclose(found_by_c(folder, compile_c, outputs, ports, dtype), expected, atol=1e-6)


@pytest.mark.parametrize(("seed", "dtype"), list(enumerate(["int8", "uint8", "float32"])))
def test_four_heads(seed, dtype, tmp_path, compile_c, int8_ports):
    rng = np.random.default_rng(seed)
    shapes = {
        "center": (1, 1, 12, 16),
        "heatmaps": (1, 17, 12, 16),
        "regression": (1, 34, 12, 16),
        "offsets": (1, 34, 12, 16),
    }
    outputs = {name: rng.uniform(0, 1, shape) for name, shape in shapes.items()}
    outputs["regression"] = rng.normal(0, 3, shapes["regression"])
    ports = int8_ports(outputs)
    expected = decode_four_heads(real_again(outputs, ports))
    np.testing.assert_allclose(found_by_c(tmp_path, compile_c, outputs, ports, dtype), expected, atol=1e-5)


def test_st_configuration_of_heat_maps():
    firmware = pose_firmware(STEM, [Port("heatmaps", (1, 13, 48, 48), 0.004, -128, True)])
    text = firmware.configuration["postprocess_conf.h"]
    assert "POSTPROCESS_SPE_MOVENET_UI" in text
    assert "NB_KEYPOINTS (13)" in text
    heatmaps = Port("heatmaps", (1, 13, 48, 48), 0.004, -128, True).compiled_as("float32")
    assert "POSTPROCESS_SPE_MOVENET_UF" in pose_firmware(STEM, [heatmaps]).configuration["postprocess_conf.h"]


@pytest.mark.parametrize("heads", [("heatmaps",), ("center", "heatmaps", "regression", "offsets")])
@pytest.mark.parametrize("core", [2, 4])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_adapter_compiles(core, compiler, heads, tmp_path):
    camera = Port("image", (1, 3, 64, 64), 1 / 255, -128, True).compiled_as("uint8")
    channels = {"center": 1, "heatmaps": 13, "regression": 26, "offsets": 26}
    outputs = [Port(name, (1, channels[name], 16, 16), 0.004, -128, True) for name in heads]
    compile_objects(compiler, tmp_path, adapter(camera, outputs, core), core=core)


def adapter(camera, outputs, core):
    firmware = pose_firmware(STEM, outputs)
    running = runtime_sources(STEM, "movenet", [camera], outputs, version={2: (2, 1), 4: (4, 0)}[core])
    return dict(firmware.sources) | {
        f"{STEM}.h": interface_header(STEM, [camera], outputs, None, firmware.defines),
        f"{STEM}.c": interface_source(STEM, [camera], outputs),
        f"{STEM}_run.h": running[f"{STEM}_run.h"],
        "app_config.h": "\n".join([*firmware.application, ""]),
    }


def test_the_adapter_hands_over_shares_of_the_input(tmp_path):
    camera = Port("image", (1, 3, 64, 64), 1 / 255, -128, True).compiled_as("uint8")
    heatmaps = Port("heatmaps", (1, 13, 16, 16), 0.004, -128, True)
    library = shared_object(tmp_path, adapter(camera, [heatmaps], 4))
    values = np.random.default_rng(0).uniform(0, 1, heatmaps.graph_shape)
    buffer = heatmaps.to_board(values)
    found = ctypes.POINTER(Keypoint)()
    pointers = (ctypes.c_void_p * 1)(buffer.ctypes.data)
    assert library.app_postprocess_run(pointers, 1, ctypes.byref(found), None) == 0
    expected = decode_heatmaps(heatmaps.from_board(buffer))
    np.testing.assert_allclose([[k.x, k.y, k.score] for k in found[:13]], expected, atol=1e-6)
