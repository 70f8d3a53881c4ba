"""EfficientViT against an independent implementation, its weights' formats, its wrong inputs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from n6convert_efficientvit import EfficientVit, EfficientVitOptions
from n6convert_efficientvit.architecture import ARCHITECTURES, Architecture, parameter_shapes, read_architecture
from n6convert_efficientvit.network import build_network
from n6convert_efficientvit.parameters import Parameters, load_parameters, seeded_parameters
from n6convert_efficientvit.plugin import _HUB
from pydantic import ValidationError
from safetensors.numpy import save_file

from n6convert.errors import SourceError
from n6convert.linter import lint
from n6convert.plugin import BuildRequest, ModelInfo, Sample, TensorInfo, Weights
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

SMALL = Architecture((8, 8, 16, 16, 32), (1, 1, 2, 1, 1), 8, (32, 48), classes=7)


def arrays(parameters: Parameters) -> dict[str, Any]:
    return {name: parameters[name] for name in parameter_shapes(parameters.arch)}


def reference() -> ModuleType:
    pytest.importorskip("torch", reason="the independent implementation is written in torch")
    spec = importlib.util.spec_from_file_location("reference", Path(__file__).parent / "reference.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["efficientvit", "efficientvit-b1", "small"])
def test_equals_the_independent_implementation(name: str) -> None:
    parameters = seeded_parameters(ARCHITECTURES.get(name, SMALL), 3)
    image = np.random.default_rng(1).normal(size=(1, 3, 64, 96)).astype(np.float32)
    expected = reference().classify(arrays(parameters), image, parameters.arch.depths, parameters.arch.head_dim)
    found = run_model(build_network(parameters, (64, 96)), {"images": image}, threads=1)["logits"]
    assert max_relative_difference(expected, found) < 1e-5


def test_published_number_of_parameters() -> None:
    counts = {name: sum(int(np.prod(s)) for n, s in parameter_shapes(arch).items() if "running" not in n)
              for name, arch in ARCHITECTURES.items()}  # fmt: skip
    assert round(counts["efficientvit"] / 1e6, 2) == 3.41
    assert round(counts["efficientvit-b1"] / 1e6, 2) == 9.1


def test_sizes_are_read_off_any_checkpoint(tmp_path: Path) -> None:
    parameters = seeded_parameters(SMALL, 0)
    assert read_architecture(arrays(parameters)) == SMALL
    path = tmp_path / "small.safetensors"
    save_file(arrays(parameters) | {"stem.in_conv.norm.num_batches_tracked": np.array(3)}, path)
    loaded = load_parameters(path)
    image = {"images": np.ones((1, 3, 32, 32), np.float32)}
    got = run_model(build_network(loaded, (32, 32)), image)["logits"]
    np.testing.assert_array_equal(got, run_model(build_network(parameters, (32, 32)), image)["logits"])


def test_wrapped_names_are_unwrapped(tmp_path: Path) -> None:
    tensors = arrays(seeded_parameters(SMALL, 0))
    save_file({f"module.{name}": array for name, array in tensors.items()}, tmp_path / "w.safetensors")
    assert load_parameters(tmp_path / "w.safetensors").arch == SMALL


def _without(tensors: dict[str, Any]) -> dict[str, Any]:
    return {n: a for n, a in tensors.items() if "local_module" not in n}


def _narrow(tensors: dict[str, Any]) -> dict[str, Any]:
    return tensors | {"head.classifier.4.bias": np.zeros(3, np.float32)}


def _foreign(tensors: dict[str, Any]) -> dict[str, Any]:
    return {"conv1.weight": np.zeros((4, 3, 3, 3), np.float32)}


@pytest.mark.parametrize("spoil", [_without, _narrow, _foreign])
def test_other_weights_are_named(tmp_path: Path, spoil: Any) -> None:
    path = tmp_path / "other.safetensors"
    save_file(spoil(arrays(seeded_parameters(SMALL, 0))), path)
    with pytest.raises(SourceError, match="not those of an EfficientViT") as caught:
        load_parameters(path)
    assert "other.safetensors" in str(caught.value) and "timm" in str(caught.value)


def test_nan_in_weights_is_named(tmp_path: Path) -> None:
    tensors = arrays(seeded_parameters(SMALL, 0))
    tensors["stages.1.blocks.0.main.point_conv.conv.weight"][0] = np.nan
    save_file(tensors, tmp_path / "nan.safetensors")
    with pytest.raises(SourceError, match="NaN") as caught:
        load_parameters(tmp_path / "nan.safetensors")
    assert "stages.1.blocks.0.main.point_conv.conv.weight" in str(caught.value)


@pytest.mark.parametrize("size", [0, 100, -32, (224, 225)])
def test_sizes_the_family_cannot_take(size: Any) -> None:
    with pytest.raises(ValidationError, match="not a positive multiple of 32"):
        EfficientVitOptions(imgsz=size)


@pytest.mark.parametrize("name", ["efficientvit", "efficientvit-b1"])
def test_pretrained_comes_from_the_hub(name: str, local_hub: Any, tmp_path: Path) -> None:
    repository, commit = _HUB[name]
    local_hub.publish(repository, {"model.safetensors": b"numbers"}, commit)
    plugin = EfficientVit(name, EfficientVitOptions())
    weights = plugin.resolve_weights("pretrained", cache=tmp_path / "weights")
    assert weights is not None and weights.path is not None and weights.path.read_bytes() == b"numbers"
    assert weights.origin == f"{repository}@{commit or local_hub.commit}"
    assert plugin.resolve_weights("nonsense", cache=tmp_path) is None


def test_encode_decode_metric_and_draw(tmp_path: Path) -> None:
    plugin = EfficientVit("efficientvit", EfficientVitOptions(imgsz=64))
    built = plugin.build(BuildRequest(Weights("seeded"), 0, tmp_path))
    info = ModelInfo((TensorInfo("images", (1, 3, 64, 64), "float32"),), (TensorInfo("logits", (1, 1000), "float32"),),
                     built.metadata)  # fmt: skip
    plugin.info = info
    image = np.full((90, 120, 3), 255, np.uint8)
    sample = Sample("white", image, 5)
    feeds = plugin.encode(sample)
    white = (1 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(feeds["images"][0, :, 0, 0], white, rtol=1e-4)
    outputs = run_model(built.model, feeds)
    best = plugin.decode(outputs, sample)
    assert best.indices[0] == int(outputs["logits"].argmax())
    metric = plugin.metric()
    metric.add(sample, best)
    assert metric.score().samples == 1
    picture = plugin.draw(sample, best, best)
    assert picture is not None and picture.width == 248


def test_nothing_in_the_graph_is_refused() -> None:
    model = build_network(seeded_parameters(SMALL, 0), (64, 64))
    assert {f.rule for f in lint(model) if f.severity == "error"} == set()
