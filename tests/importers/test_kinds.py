"""Keras and TFLite files that no converter takes as they are: adapted where that is safe, else refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from n6convert.errors import N6ConvertError
from n6convert.importers import import_tensorflow, tflite_kinds
from n6convert.importers.keras_config import STEPS, adapted, layers_with_code
from n6convert.npu.ir import Tensor
from n6convert.npu.tflite_file import TFLiteFile, TFLiteOperator
from n6convert.runtime.session import run_model

needs_tf = pytest.mark.skipif(find_spec("tf2onnx") is None, reason="the extra [tf] is not installed")


def keras2(steps: int, *more: dict) -> dict:
    """A configuration as Keras 2 wrote it."""
    layers = [
        {"class_name": "InputLayer", "config": {"batch_input_shape": [None, steps, 4], "name": "in", "ragged": False}},
        {"class_name": "DepthwiseConv2D", "config": {"name": "d", "groups": 1, "kernel_size": [3, 3]}},
        {"class_name": "BatchNormalization", "config": {"name": "b", "axis": [3]}},
        {"class_name": "LSTM", "config": {"name": "l", "time_major": False, "unroll": False, "units": 4}},
        *more,
    ]
    return {"class_name": "Sequential", "config": {"name": "s", "layers": layers}}


def written(path: Path, config: dict) -> Path:
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("metadata.json", "{}")
        return path
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
    return path


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_options_of_keras_2_that_say_nothing(suffix: str, tmp_path: Path) -> None:
    source = written(tmp_path / f"old{suffix}", keras2(10))
    before = source.read_bytes()
    folder = tmp_path / "scratch"
    folder.mkdir()
    copy, config = adapted(source, folder)
    d, b, cell = (layer["config"] for layer in config["config"]["layers"][1:])
    assert "groups" not in d and d["kernel_size"] == [3, 3] and b["axis"] == 3
    assert "time_major" not in cell and cell["unroll"] is True
    assert source.read_bytes() == before and copy.parent == folder and adapted(copy, tmp_path)[1] == config


def test_options_that_say_something_and_long_sequences_stay(tmp_path: Path) -> None:
    more = {"class_name": "DepthwiseConv2D", "config": {"name": "e", "groups": 2}}
    _, config = adapted(written(tmp_path / "a.keras", keras2(STEPS + 1, more)), tmp_path)
    layers = config["config"]["layers"]
    assert layers[-1]["config"]["groups"] == 2 and layers[3]["config"]["unroll"] is False


def test_layers_of_code_are_found_wherever_they_are() -> None:
    inner = {"class_name": "Lambda", "config": {"name": "twice", "function": ["4wEA", None, None]}}
    wrapped = {"class_name": "TimeDistributed", "config": {"name": "t", "layer": inner}}
    operator = {"class_name": "TFOpLambda", "config": {"name": "tf.math.add", "function": "math.add"}}
    assert layers_with_code(keras2(3, wrapped, operator)) == ["Lambda twice", "TFOpLambda tf.math.add"]
    assert layers_with_code(keras2(3)) == []


MAKE = """
import json, sys, h5py, keras, numpy as np
keras.utils.set_random_seed(0)
L = keras.layers
model = keras.Sequential([L.Input((6, 8, 2)), L.DepthwiseConv2D(3, padding="same"), L.BatchNormalization(),
                          L.Reshape((6, 16)), L.LSTM(5, return_sequences=True), L.GRU(4), L.Dense(3)])
model.save(sys.argv[1])
x = np.random.default_rng(0).random((1, 6, 8, 2)).astype("float32")
np.savez(sys.argv[2], x=x, y=model.predict(x, verbose=0))
with h5py.File(sys.argv[1], "r+") as file:
    config = json.loads(file.attrs["model_config"])
    for layer in config["config"]["layers"]:
        if layer["class_name"] == "DepthwiseConv2D":
            layer["config"]["groups"] = 1
        if layer["class_name"] == "BatchNormalization":
            layer["config"]["axis"] = [3]
        if layer["class_name"] in ("LSTM", "GRU"):
            layer["config"]["time_major"] = False
        if layer["class_name"] == "InputLayer":
            layer["config"]["batch_shape"] = [None, 6, 8, 2]
    file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), "2.13.1"
"""


@needs_tf
def test_a_keras_2_file_with_recurrent_layers_is_the_same_function(tmp_path: Path) -> None:
    source, reference = tmp_path / "old.h5", tmp_path / "reference.npz"
    subprocess.run([sys.executable, "-c", MAKE, str(source), str(reference)], check=True, capture_output=True)
    model = import_tensorflow(source, tmp_path)
    kinds = {node.op_type for node in model.graph}
    assert not kinds & {"Loop", "Scan", "If"}
    held = np.load(reference)
    found = next(iter(run_model(model, {str(model.graph.inputs[0].name): held["x"]}).values()))
    np.testing.assert_allclose(found, held["y"], atol=1e-5)


def tables(kind: str, weight: str = "float32", data: str = "float32") -> TFLiteFile:
    tensors = {"x": Tensor("x", (1, 4), data), "w": Tensor("w", (2, 4), weight, constant=True)}
    tensors["y"] = Tensor("y", (1, 2), data)
    return TFLiteFile([TFLiteOperator(kind, ("x", "w"), ("y",), None)], tensors, {}, ("x",), ("y",))


KINDS = {
    "Vela": (tables("ethos-u"), ("Ethos-U", "before `vela`")),
    "Flex": (tables("FlexErf"), ("Flex", "FlexErf", "ONNX")),
    "lists": (tables("FlexTensorListReserve"), ("Flex", "Keras file")),
    "cells": (tables("UNIDIRECTIONAL_SEQUENCE_LSTM"), ("recurrent", "Input(shape=(steps")),
    "loops": (tables("WHILE"), ("recurrent", "Keras file")),
    "states": (tables("READ_VARIABLE"), ("keeps state", "READ_VARIABLE", "inputs and outputs")),
    "hybrid": (tables("FULLY_CONNECTED", weight="int8"), ("hybrid", "representative_dataset", "requantize")),
}


@pytest.mark.parametrize("kind", KINDS)
def test_tflite_files_are_refused_by_what_they_are(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, words = KINDS[kind]
    monkeypatch.setattr(tflite_kinds, "read_tables", lambda path: file)
    with pytest.raises(N6ConvertError) as caught:
        tflite_kinds.refuse_unreadable_kinds(tmp_path / "model.tflite")
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_ordinary_files_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_dir: Path) -> None:
    for file in (tables("FULLY_CONNECTED"), tables("FULLY_CONNECTED", "int8", "int8"), tables("CONV_2D", "float16")):
        with monkeypatch.context() as patch:
            patch.setattr(tflite_kinds, "read_tables", lambda path, file=file: file)
            tflite_kinds.refuse_unreadable_kinds(tmp_path / "model.tflite")
    for path in sorted((data_dir / "weights").glob("*int8*.tflite")):
        tflite_kinds.refuse_unreadable_kinds(path)
