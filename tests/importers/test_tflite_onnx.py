"""TFLite read without TensorFlow: the same numbers as TensorFlow Lite gives."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError, SourceError
from n6convert.importers import import_tensorflow, tensorflow
from n6convert.importers.tflite_builder import HANDLERS, Unknown
from n6convert.importers.tflite_onnx import tflite_model
from n6convert.npu.tflite_file import OPERATORS, read_tables
from n6convert.runtime.session import run_model

GROUPS = (
    "convolutions", "convolutions_float16", "pools", "resizes", "functions", "moves", "products", "without_layers",
    "open_batch",
)  # fmt: skip
REAL = ("st_movenet_lightning_heatmaps_192_int8_pc", "yolov8n_192_quant_pc_uf_pose_coco-st")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that TensorFlow wrote (see make_tflite.py)."""
    if find_spec("tensorflow") is None:
        pytest.skip("the extra [tf] is not installed")
    folder = tmp_path_factory.mktemp("tflite")
    script = Path(__file__).with_name("make_tflite.py")
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    child = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, env=environment)
    assert child.returncode == 0, child.stderr[-2000:]
    return folder


@pytest.mark.parametrize("group", GROUPS)
def test_same_numbers_as_tensorflow_lite(files: Path, group: str) -> None:
    model = tflite_model(files / f"{group}.tflite")
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    truth = np.load(files / f"{group}.npz")
    outputs = run_model(model, {str(model.graph.inputs[0].name): truth["image"]})
    wanted = {key.removeprefix("out:"): truth[key] for key in truth.files if key.startswith("out:")}
    assert outputs.keys() == wanted.keys() and len(wanted) > 2
    for name, expected in wanted.items():
        assert outputs[name].shape == expected.shape, name
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=2e-5, err_msg=name)


def test_the_files_use_most_of_what_is_read(files: Path) -> None:
    used = {op.kind for group in GROUPS for op in read_tables(files / f"{group}.tflite").operators}
    own = {kind for kind in HANDLERS if not kind.isupper()}  # of other makers, which TensorFlow does not write
    assert own == {"Convolution2DTransposeBias"} and set(HANDLERS) - own <= set(OPERATORS.values())
    assert used <= set(HANDLERS) and len(used) >= 0.85 * len(HANDLERS), sorted(set(HANDLERS) - used)


@pytest.mark.parametrize("name", REAL)
def test_same_numbers_as_tf2onnx(data_dir: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec("tf2onnx") is None or find_spec("tensorflow") is None:
        pytest.skip("the extra [tf] is not installed")
    path = data_dir / "weights" / f"{name}.tflite"
    ours = import_tensorflow(path, tmp_path, dequantize=True)
    assert not list(tmp_path.iterdir()), "no child process"
    monkeypatch.setattr(tensorflow, "tflite_model", lambda path: (_ for _ in ()).throw(Unknown("not this time")))
    theirs = import_tensorflow(path, tmp_path, dequantize=True)
    value = ours.graph.inputs[0]
    assert (value.name, value.dtype) == (theirs.graph.inputs[0].name, theirs.graph.inputs[0].dtype)
    shape = tuple(int(str(size)) for size in value.shape or ())
    feeds = {str(value.name): np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)}
    for key, expected in run_model(theirs, feeds).items():
        np.testing.assert_allclose(run_model(ours, feeds)[key], expected, atol=1e-6 * max(1, np.ptp(expected)))


def test_movenet_needs_no_tensorflow(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow, "installed", lambda modules: False)
    monkeypatch.setattr(tensorflow, "run_module", lambda *_, **__: pytest.fail("a child process"))
    import_tensorflow(data_dir / "weights" / f"{REAL[0]}.tflite", tmp_path, dequantize=True)


def test_what_is_not_read_is_named(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorflow, "installed", lambda modules: False)
    monkeypatch.delitem(HANDLERS, "RESIZE_BILINEAR")
    with pytest.raises(GraphError, match="operators that are not read") as caught:
        import_tensorflow(data_dir / "weights" / f"{REAL[0]}.tflite", tmp_path, dequantize=True)
    assert caught.value.found == "RESIZE_BILINEAR" and "n6convert[tf]" in str(caught.value.remedy)


@pytest.mark.parametrize("cut", [40, 2000, 300_000])
def test_damaged_files_end_in_one_error(data_dir: Path, tmp_path: Path, cut: int) -> None:
    content = bytearray((data_dir / "weights" / f"{REAL[0]}.tflite").read_bytes())
    content[cut : cut + 64] = b"\xff" * 64
    path = tmp_path / "damaged.tflite"
    path.write_bytes(content)
    with contextlib.suppress(GraphError, SourceError):
        tflite_model(path)


def test_sparse_weights_are_refused(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = data_dir / "weights" / f"{REAL[0]}.tflite"
    tables = read_tables(path, all_values=True)
    tables.sparse.append("kernel")
    monkeypatch.setattr("n6convert.importers.tflite_onnx.read_tables", lambda *_, **__: tables)
    with pytest.raises(SourceError, match="stored sparse"):
        tflite_model(path)
