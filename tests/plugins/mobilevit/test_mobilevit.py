"""MobileViT against transformers' own implementation, its folders and its wrong inputs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from n6convert_mobilevit import MobileVit, MobileVitOptions
from n6convert_mobilevit.architecture import config_of
from n6convert_mobilevit.patches import write_patches
from n6convert_mobilevit.pretrained import PUBLISHED
from pydantic import ValidationError

from n6convert.errors import GraphError, SourceError
from n6convert.linter import lint
from n6convert.plugin import BuildRequest, FloatModel, ModelInfo, Sample, TensorInfo, Weights
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

TORCH = """
import sys, numpy as np, torch
from transformers import MobileViTForImageClassification
model = MobileViTForImageClassification.from_pretrained(sys.argv[1], local_files_only=True).eval()
with torch.no_grad():
    np.save(sys.argv[3], model(torch.from_numpy(np.load(sys.argv[2]))).logits.numpy())
if len(sys.argv) > 4:
    torch.save(model.state_dict(), sys.argv[4])
"""


def build(folder: Path, scratch: Path, **options: Any) -> tuple[MobileVit, FloatModel]:
    scratch.mkdir(exist_ok=True)
    plugin = MobileVit("mobilevit", MobileVitOptions(**options))
    built = plugin.build(BuildRequest(Weights("file", folder, "", str(folder)), 0, scratch))
    size = plugin.options.size  # type: ignore[attr-defined]
    inputs = (TensorInfo("pixel_values", (1, 3, *size), "float32"),)
    plugin.info = ModelInfo(inputs, (TensorInfo("logits", (1, 5), "float32"),), built.metadata)
    return plugin, built


@pytest.fixture(scope="module")
def built(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[MobileVit, FloatModel]:
    before = set(sys.modules)
    made = build(folder, tmp_path_factory.mktemp("build"), imgsz=(64, 128))
    assert not {"torch", "transformers"} & (set(sys.modules) - before), "frameworks belong into the child process"
    return made


def test_equals_transformers_and_reads_pickled_weights(
    folder: Path, built: tuple[MobileVit, FloatModel], tmp_path: Path
) -> None:
    image = np.random.default_rng(0).random((1, 3, 64, 128), np.float32)
    np.save(tmp_path / "in.npy", image)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(folder / "config.json", pickled)
    files = [str(p) for p in (folder, tmp_path / "in.npy", tmp_path / "out.npy", pickled / "pytorch_model.bin")]
    subprocess.run([sys.executable, "-c", TORCH, *files], check=True, capture_output=True, env=_quiet())
    expected = np.load(tmp_path / "out.npy")
    assert max_relative_difference(expected, run_model(built[1].model, {"pixel_values": image})["logits"]) < 1e-5
    _, second = build(pickled, tmp_path / "scratch", imgsz=(64, 128))
    assert max_relative_difference(expected, run_model(second.model, {"pixel_values": image})["logits"]) < 1e-5


def _quiet() -> dict[str, str]:
    import os

    return dict(os.environ) | {"USE_TF": "0", "HF_HUB_OFFLINE": "1"}


def test_patches_need_no_awkward_tensors(built: tuple[MobileVit, FloatModel]) -> None:
    model = built[1].model
    ranks = {len(v.shape) for node in model.graph for v in node.outputs if v.shape is not None}
    assert max(ranks) <= 4
    assert sum(node.op_type == "DepthToSpace" for node in model.graph) == 3
    outside = [n for n in model.graph if n.op_type == "Transpose" and "attention" not in n.name]
    assert {tuple(n.attributes.get_ints("perm")) for n in outside} == {(0, 2, 1)}
    assert all(v.shape[0] == 1 for n in model.graph for v in n.outputs if v.shape is not None and len(v.shape) > 1)
    assert {f.rule for f in lint(model) if f.severity == "error"} == set()


def test_what_is_no_mobilevit_graph_is_refused() -> None:
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,4,8,8] x) => (float[1,4,8,8] y) { y = Relu (x) }'
    )
    with pytest.raises(GraphError, match="no patches"):
        write_patches(model)


def test_encoding_is_bgr_and_answers_have_names(built: tuple[MobileVit, FloatModel]) -> None:
    plugin, made = built
    red = np.zeros((80, 160, 3), np.uint8)
    red[..., 0] = 255
    feeds = plugin.encode(Sample("red", red, 3))
    assert feeds["pixel_values"].shape == (1, 3, 64, 128)
    assert feeds["pixel_values"][0, :, 5, 5].tolist() == [0, 0, 1]
    best = plugin.decode(run_model(made.model, feeds))
    assert best.names[0] == f"flower {best.indices[0]}"
    metric = plugin.metric()
    metric.add(Sample("red", red, f"flower {best.indices[0]}"), best)
    assert metric.score().value == 1


def _no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def _no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def _other_model(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))


def _segmentation(folder: Path) -> None:
    config = config_of("mobilevit") | {"architectures": ["MobileViTForSemanticSegmentation"]}
    (folder / "config.json").write_text(json.dumps(config))


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def _other_stride(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"output_stride": 16}
    (folder / "config.json").write_text(json.dumps(config))


def _other_widths(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"hidden_sizes": [24, 24, 32]}
    (folder / "config.json").write_text(json.dumps(config))


def _cut_weights(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_config, "no config.json"),
        (_no_weights, "holds no weights"),
        (_other_model, "another architecture"),
        (_segmentation, "another architecture"),
        (_broken_config, "cannot be read"),
        (_other_stride, "other patches or strides"),
        (_other_widths, "do not fit config.json"),
        (_cut_weights, "safetensors"),
    ],
)
def test_wrong_folders_are_named(folder: Path, tmp_path: Path, spoil: Any, message: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    spoil(copy)
    with pytest.raises(SourceError, match=message):
        build(copy, tmp_path / "scratch", imgsz=64)


def test_a_file_is_no_folder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="Hugging Face folder"):
        build(folder / "model.safetensors", tmp_path / "scratch")


@pytest.mark.parametrize("size", [0, 96, 250, (256, 32)])
def test_sizes_the_family_cannot_take(size: Any) -> None:
    with pytest.raises(ValidationError, match="not a positive multiple of 64"):
        MobileVitOptions(imgsz=size)


@pytest.mark.parametrize("name", ["mobilevit", "mobilevit-xs", "mobilevit-s"])
def test_pretrained_comes_from_the_hub(name: str, local_hub: Any, folder: Path, tmp_path: Path) -> None:
    published = PUBLISHED[name]
    files = {"pytorch_model.bin": b"numbers", "config.json": (folder / "config.json").read_bytes()}
    local_hub.publish(published.repository, files, published.commit)
    plugin = MobileVit(name, MobileVitOptions())
    assert plugin.resolve_weights("nonsense", cache=tmp_path) is None
    weights = plugin.resolve_weights("pretrained", cache=tmp_path / "weights")
    assert weights is not None and weights.path is not None and weights.license == "Apple sample code license"
    assert weights.origin == f"{published.repository}@{published.commit or local_hub.commit}"
    plugin.check_folder(weights.path)
    assert {p.name: p.read_bytes() for p in weights.path.iterdir()} == files
