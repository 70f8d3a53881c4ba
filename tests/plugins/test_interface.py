"""What a plugin gets for nothing: defaults that are safe, an interface known from the build on, and checked types."""

from __future__ import annotations

import importlib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import parsed

import n6convert.plugin as plugin
from n6convert.errors import PluginError, SourceError
from n6convert.plugin import (
    BuildRequest,
    Firmware,
    FloatModel,
    ModelInfo,
    ModelPlugin,
    PluginOptions,
    Sample,
    TensorInfo,
    Weights,
)
from n6convert.plugin.interface import API_VERSION

PARTS = ["checkpoints", "graphs", "metrics", "rules", "samples", "weights"]


class Smallest(ModelPlugin):
    """Only what has to be there."""

    def build(self, request: BuildRequest) -> FloatModel:
        return FloatModel(parsed("y = Relu(x)", "float[1,4] x", "float[] y"))

    def encode(self, sample: Sample) -> dict[str, Any]:
        return {"x": sample.data}


class OfImages(Smallest):
    sample_kind, takes_folders = "image", False


INFO = ModelInfo((TensorInfo("x", (1, 3, 8, 8), "float32"),), (TensorInfo("y", (1, 3, 8, 8), "float32"),), {"a": "b"})


@pytest.fixture
def made() -> Smallest:
    found = Smallest("small", PluginOptions())
    found.info = INFO
    return found


def test_build_and_encode_are_all_that_is_required() -> None:
    for missing in ("build", "encode"):
        kind = type(
            "Part", (ModelPlugin,), {name: getattr(Smallest, name) for name in ("build", "encode") if name != missing}
        )
        with pytest.raises(TypeError, match=missing):
            kind("x", PluginOptions())
    assert Smallest("x", PluginOptions()).build(BuildRequest(Weights("seeded"), 0, Path())).metadata == {}


def test_defaults_change_nothing(made: Smallest) -> None:
    sample = Sample("s", np.ones(3), 1)
    assert made.decode({"y": np.ones(2)}).keys() == {"y"} and made.metric() is None and made.draw(sample) is None
    assert made.prepare([sample]) == [sample] and made.artifacts() == {} and made.rewrites() == ()  # type: ignore[arg-type, comparison-overlap]
    assert made.augment(sample, np.random.default_rng(0)) is sample and made.training_loss({}, sample) is None
    assert made.resolve_weights("pretrained", cache=Path()) is None and made.restore(Weights("seeded"), 0) is None
    assert made.firmware("stem", [], []) == Firmware() and made.summary == "" and not made.takes_ready_inputs
    made.check_folder(Path())


def test_the_interface_is_known_from_the_build_on() -> None:
    early = Smallest("small", PluginOptions())
    with pytest.raises(PluginError, match="before the model was built") as caught:
        early.info.inputs  # noqa: B018
    assert caught.value.place == "small"
    early.info = INFO
    assert early.info is INFO and early.name == "small"


def test_a_model_of_one_file_refuses_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="this model takes a file") as caught:
        OfImages("i", PluginOptions()).check_folder(tmp_path)
    assert caught.value.place == tmp_path and caught.value.remedy


@pytest.mark.parametrize("kind", [Smallest, OfImages])
def test_samples_without_any_files_fit_the_interface(kind: type[Smallest]) -> None:
    found = kind("small", PluginOptions())
    found.info = INFO
    source = found.samples()
    first = next(iter(source))
    assert source.synthetic and len(source) > 0
    if kind is OfImages:
        assert first.data.dtype == np.uint8 and first.data.ndim == 3 and first.data.shape[2] == 3
        varied = found.augment(Sample("s", first.data, 7), np.random.default_rng(1))
        assert varied.label is None and varied.data.dtype == np.uint8 and varied.data.ndim == 3
        again = found.augment(Sample("s", first.data, 7), np.random.default_rng(1))
        np.testing.assert_array_equal(varied.data, again.data)
    else:
        assert {name: array.shape for name, array in first.data.items()} == {"x": (1, 3, 8, 8)}


@pytest.mark.parametrize(("kind", "trained"), [("pretrained", True), ("file", True), ("seeded", False)])
def test_only_seeded_weights_are_untrained(kind: str, trained: bool) -> None:
    found = Weights(kind)
    assert found.trained == trained and found.path is None and not found.first_use
    with pytest.raises(FrozenInstanceError):
        found.kind = "seeded"  # type: ignore[misc]


def test_progress_may_be_told_without_anybody_listening() -> None:
    request = BuildRequest(Weights("seeded"), 3, Path())
    assert request.progress("building", 1, None) is None and request.seed == 3
    assert {f.name for f in fields(BuildRequest)} == {"weights", "seed", "scratch", "progress"}


def test_options_are_checked_by_their_names() -> None:
    class Options(PluginOptions):
        imgsz: int = 64

    assert Options(imgsz=32).imgsz == 32
    for wrong in ({"imgsz": "x"}, {"size": 3}):
        with pytest.raises(ValueError, match="imgsz|size"):
            Options(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", PARTS)
def test_what_the_parts_of_the_interface_offer(part: str) -> None:
    """Plugins import these names; each is there, once, and documented where it is a class or function."""
    module = importlib.import_module(f"n6convert.plugin.{part}")
    names = module.__all__
    assert len(set(names)) == len(names) and names == sorted(names)
    assert all(hasattr(module, name) for name in names)
    undocumented = [n for n in names if callable(getattr(module, n)) and not (getattr(module, n).__doc__ or "").strip()]
    assert undocumented == []


def test_the_version_of_the_interface() -> None:
    assert API_VERSION[0] == ModelPlugin.api_version[0] and ModelPlugin.api_version <= API_VERSION
    assert set(plugin.__all__) >= {"ModelPlugin", "FloatModel", "BuildRequest", "Sample", "Weights"}
    assert isinstance(Smallest("s", PluginOptions()).build(BuildRequest(Weights("seeded"), 0, Path())).model, ir.Model)
