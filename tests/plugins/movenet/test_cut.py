"""Networks found in files: TensorFlow's, with their decoding; ONNX; and files that are something else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("n6convert_movenet")
from n6convert_movenet import MoveNet, MoveNetOptions
from n6convert_movenet.architecture import HEATMAP_HEAD, build_network
from n6convert_movenet.cut import cut_network

from n6convert.errors import SourceError
from n6convert.plugin import BuildRequest, FloatModel, ModelInfo, Sample, TensorInfo, Weights
from n6convert.runtime.session import run_model

REAL = "weights/movenet_lightning_heatmaps_192_float.onnx"
SIDE = 64
TAIL = {"ArgMax", "GatherND", "Gather", "TopK", "Cast", "Transpose"}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that TensorFlow wrote (see make_original.py)."""
    if find_spec("tensorflow") is None or find_spec("tf2onnx") is None:
        pytest.skip("the extra [tf] is not installed")
    folder = tmp_path_factory.mktemp("original")
    script = Path(__file__).with_name("make_original.py")
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [sys.executable, script, folder]
    child = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert child.returncode == 0, child.stderr[-2000:]
    return folder


def built(name: str, path: Path, scratch: Path, **options: object) -> tuple[MoveNet, FloatModel]:
    plugin = MoveNet(name, MoveNetOptions.model_validate(options))
    scratch.mkdir(exist_ok=True)
    model = plugin.build(BuildRequest(Weights("file", path), 0, scratch))
    side = int(model.model.graph.inputs[0].shape[2])  # type: ignore[index, arg-type]
    plugin.info = ModelInfo((TensorInfo("image", (1, 3, side, side), "float32"),), (), model.metadata)
    return plugin, model


@pytest.mark.parametrize(("file", "tolerance"), [("saved_model", 1e-5), ("movenet.tflite", 2e-3)])
def test_original_is_cut_and_decodes_alike(originals: Path, tmp_path: Path, file: str, tolerance: float) -> None:
    plugin, model = built("movenet-lightning", originals / file, tmp_path / "scratch")
    kinds = Counter(node.op_type for node in model.model.graph)
    assert not TAIL & kinds.keys()
    truth = np.load(originals / "truth.npz")
    pose = plugin.decode(run_model(model.model, plugin.encode(Sample("x", truth["pixels"][0]))))
    assert np.abs(pose[:, [1, 0, 2]] - truth["answer"][0, 0]).max() < tolerance


def test_heatmaps_alone_out_of_an_original(originals: Path, tmp_path: Path) -> None:
    _, model = built("movenet", originals / "saved_model", tmp_path / "scratch")
    assert [str(v.name) for v in model.model.graph.outputs] == ["heatmaps"]
    assert model.metadata["keypoints"] == "17"
    assert "Sigmoid" in {n.op_type for n in model.model.graph}


@pytest.mark.parametrize(("file", "tolerance"), [("heatmaps.keras", 1e-5), ("int8.tflite", 0.15)])
def test_keras_and_int8_agree_with_the_original(originals: Path, tmp_path: Path, file: str, tolerance: float) -> None:
    plugin, model = built("movenet", originals / file, tmp_path / "scratch")
    reference, whole = built("movenet", originals / "saved_model", tmp_path / "other")
    sample = Sample("x", np.load(originals / "truth.npz")["pixels"][0])
    ours, theirs = (run_model(m.model, p.encode(sample))["heatmaps"] for p, m in ((plugin, model), (reference, whole)))
    assert np.sqrt(((ours - theirs) ** 2).mean()) < tolerance * theirs.std()


def test_published_onnx_gives_the_same_heatmaps(data_dir: Path) -> None:
    path = data_dir / REAL
    model, front, keypoints = cut_network(ir.load(path), four_heads=False, imgsz=None)
    assert (front, keypoints) == (None, 13)
    assert "Transpose" not in {n.op_type for n in model.graph}
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 192, 192)).astype(np.float32)
    theirs = run_model(path, {"input": image})["StatefulPartitionedCall:0"]
    assert np.abs(run_model(model, {"image": image})["heatmaps"] - theirs.transpose(0, 3, 1, 2)).max() < 1e-5


def test_published_tflite_is_the_published_onnx(data_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("tf2onnx")
    file = data_dir / "weights/st_movenet_lightning_heatmaps_192_int8_pc.tflite"
    _, model = built("movenet", file, tmp_path / "scratch")
    assert model.metadata["input_shift"].startswith("-0.996")
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 192, 192)).astype(np.float32)
    theirs = run_model(data_dir / REAL, {"input": image})["StatefulPartitionedCall:0"]
    assert np.abs(run_model(model.model, {"image": image})["heatmaps"] - theirs.transpose(0, 3, 1, 2)).max() < 1e-5


@pytest.mark.parametrize("imgsz", [224, 256])
def test_other_sizes_from_one_file(data_dir: Path, imgsz: int) -> None:
    model, _, _ = cut_network(ir.load(data_dir / REAL), four_heads=False, imgsz=imgsz)
    heatmaps = run_model(model, {"image": np.zeros((1, 3, imgsz, imgsz), np.float32)})["heatmaps"]
    assert heatmaps.shape == (1, 13, imgsz // 4, imgsz // 4)


def test_one_head_is_not_four(data_dir: Path) -> None:
    with pytest.raises(SourceError, match="center, heatmaps, regression, offsets were not found") as caught:
        cut_network(ir.load(data_dir / REAL), four_heads=True, imgsz=None)
    assert "`movenet`" in str(caught.value)


def test_a_classifier_is_refused(data_dir: Path) -> None:
    path = data_dir / "weights/mobilenet_v2_1.0_224_float.onnx"
    with pytest.raises(SourceError, match="not a MoveNet single-pose network") as caught:
        cut_network(ir.load(path), four_heads=False, imgsz=None)
    assert "13 or 17 keypoints" in str(caught.value)


def test_keypoints_of_seeded_weights_do_not_bend_a_file(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    ir.save(build_network(width=1.0, heads=HEATMAP_HEAD, keypoints=13, imgsz=SIDE, seed=0), path)
    with pytest.raises(SourceError, match="another number of keypoints"):
        built("movenet", path, tmp_path / "scratch", keypoints=17)


def test_odd_front_is_named(tmp_path: Path) -> None:
    model = build_network(width=1.0, heads=HEATMAP_HEAD, keypoints=13, imgsz=SIDE, seed=0)
    first = next(n for n in model.graph if n.op_type == "Conv")
    node = ir.node("Sin", [model.graph.inputs[0]])
    model.graph.insert_before(first, node)
    first.replace_input_with(0, node.outputs[0])
    with pytest.raises(SourceError, match="Sin stands between the input and the first convolution"):
        cut_network(model, four_heads=False, imgsz=None)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("weights.pt", b"PK\x03\x04", "cannot be read from this"),
        ("weights.onnx", b"not a protobuf", "not a readable ONNX model"),
        ("weights.tflite", b"not a flatbuffer at all", "not a TFLite model"),
    ],
)
def test_foreign_files(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=problem):
        built("movenet", path, tmp_path / "scratch")


def test_a_folder_that_is_no_saved_model(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read from this") as caught:
        built("movenet", tmp_path, tmp_path / "scratch")
    assert "saved_model.pb" in str(caught.value)
