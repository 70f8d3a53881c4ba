"""TensorFlow models through the child process; skipped where the extra [tf] is not installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from n6convert.builtin.images import ImageFormat
from n6convert.builtin.onnx_file import OnnxFile, OnnxOptions
from n6convert.errors import GraphError, SourceError, ToolError
from n6convert.importers import child, import_tensorflow, tensorflow, tensorflow_kind
from n6convert.plugin import BuildRequest, Weights
from n6convert.requantization import noted_grids
from n6convert.runtime.session import run_model

needs_tf = pytest.mark.skipif(find_spec("tf2onnx") is None, reason="the extra [tf] is not installed")

KERAS = """
import sys, keras
keras.utils.set_random_seed(0)
layers = keras.layers
model = keras.Sequential([layers.Input((16, 16, 3)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(),
                          layers.Dense(5)])
model.save(sys.argv[1])
"""


def options(**more: object) -> OnnxFile:
    return OnnxFile("onnx", OnnxOptions(**more))  # type: ignore[arg-type]


def request(path: Path, scratch: Path) -> BuildRequest:
    return BuildRequest(Weights("file", path, "", str(path)), 0, scratch)


@needs_tf
def test_keras_file_becomes_a_graph(tmp_path: Path) -> None:
    path = tmp_path / "small.keras"
    subprocess.run([sys.executable, "-c", KERAS, str(path)], check=True, capture_output=True)
    before = set(sys.modules)
    built = options().build(request(path, tmp_path))
    assert "tensorflow" not in set(sys.modules) - before, "TensorFlow belongs into the child process"
    value = built.model.graph.inputs[0]
    assert tuple(value.shape or ()) == (1, 16, 16, 3)
    outputs = run_model(built.model, {value.name or "": np.ones((1, 16, 16, 3), np.float32)})
    assert next(iter(outputs.values())).shape == (1, 5)


@needs_tf
def test_quantized_tflite_is_refused_or_dequantized(data_dir: Path, tmp_path: Path) -> None:
    path = data_dir / "weights" / "mobilenet_v2_1.0_224_int8.tflite"
    with pytest.raises(SourceError, match="already quantized") as caught:
        options().build(request(path, tmp_path))
    assert "n6convert requantize" in str(caught.value)
    plugin = options(dequantize=True)
    built = plugin.build(request(path, tmp_path))
    form = ImageFormat.from_json(built.metadata["image"])
    assert form.mean == (127.0,) and form.std == pytest.approx((127.5,), rel=1e-6)
    float_model = data_dir / "weights" / "mobilenet_v2_1.0_224_float.onnx"
    feed = np.random.default_rng(0).uniform(-1, 1, (1, 3, 224, 224)).astype(np.float32)
    expected = next(iter(run_model(float_model, {"input": feed}).values()))
    name = built.model.graph.inputs[0].name or ""
    got = next(iter(run_model(built.model, {name: feed.transpose(0, 2, 3, 1)}).values()))
    np.testing.assert_allclose(got, expected, atol=1e-3)
    assert built.given is not None and len(noted_grids(built.model.metadata_props)) == 70
    given = next(iter(run_model(built.given, {name: feed.transpose(0, 2, 3, 1)}).values()))
    assert np.abs(given - got).max() < 0.1


@needs_tf
def test_unsupported_operators_are_named(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="Select TF operators") as caught:
        import_tensorflow(data_dir / "weights" / "mobilevit_xxs_flowers_tzinch21.tflite", tmp_path)
    assert "Flex" in str(caught.value)


@needs_tf
def test_sparse_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sparse.tflite"
    path.write_bytes(b"\x1c\0\0\0TFL3")
    said = "ValueError: cannot reshape array of size 77 into shape (8,1,1,32)"
    monkeypatch.setattr(tensorflow, "run_module", lambda *_, **__: child.Child(1, said))
    with pytest.raises(SourceError, match="stored sparse") as caught:
        import_tensorflow(path, tmp_path)
    assert "before it was made sparse" in str(caught.value.remedy)


@pytest.mark.parametrize(
    "said",
    [
        "OSError: Unable to open file (truncated file)",
        "OSError: Unable to synchronously open file (bad byte number in an address)",
    ],
)
def test_a_damaged_keras_file_is_called_so(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n")
    monkeypatch.setattr(tensorflow, "run_module", lambda *_, **__: child.Child(1, said))
    with pytest.raises(SourceError, match="file is damaged"):
        import_tensorflow(path, tmp_path)


def test_kinds(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    assert tensorflow_kind(tmp_path) == "saved-model"
    assert tensorflow_kind(tmp_path / "a.tflite") == "tflite"
    assert tensorflow_kind(tmp_path / "a.keras") == "keras"
    assert tensorflow_kind(tmp_path / "a.onnx") is None


def test_what_is_missing_or_foreign_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        import_tensorflow(tmp_path / "none.tflite", tmp_path)
    page = tmp_path / "page.tflite"
    page.write_bytes(b"<html></html>")
    with pytest.raises(SourceError, match="not a TFLite model"):
        import_tensorflow(page, tmp_path)
    page.write_bytes(b"\x1c\0\0\0TFL3" + b"\0" * 32)
    monkeypatch.setattr(child, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="TensorFlow import needs more packages") as caught:
        import_tensorflow(page, tmp_path)
    assert "n6convert[tf]" in str(caught.value.remedy)
