"""Keras files of other versions: what says nothing goes, what says something stays, and code is only named."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from n6convert.importers.keras_config import STEPS, adapted, layers_with_code

Config = dict[str, Any]


def _archive(folder: Path, config: Config) -> Path:
    path = folder / "net.keras"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("config.json", json.dumps(config))
        file.writestr("model.weights.h5", b"\x89HDF weights")
        file.writestr("metadata.json", '{"keras_version": "2.13.0"}')
    return path


def _hdf(folder: Path) -> Path:
    h5py = pytest.importorskip("h5py")
    path = folder / "net.H5"
    with h5py.File(path, "w") as file:
        file["model_weights"] = [1, 2]
    return path


def _layer(kind: str, **options: Any) -> Config:
    return {"class_name": kind, "config": {"name": kind.lower(), **options}}


def _model(*layers: Config, steps: int | None = 4) -> Config:
    return {
        "class_name": "Functional",
        "config": {"layers": [_layer("InputLayer", batch_shape=[None, steps, 3]), *layers]},
    }


def _adapted(config: Config, folder: Path) -> Config:
    (folder / "out").mkdir(exist_ok=True)
    return adapted(_archive(folder, config), folder / "out")[1]


@pytest.mark.parametrize(
    ("layer", "gone"),
    [
        (_layer("DepthwiseConv2D", groups=1, strides=[1, 1]), {"groups"}),
        (_layer("DepthwiseConv2D", groups=None), {"groups"}),
        (_layer("SeparableConv1D", groups=1), {"groups"}),
        (_layer("Conv2DTranspose", groups=1), {"groups"}),
        (_layer("Dense", units=3, groups=1), set()),  # nobody knows what that means
        (_layer("Conv2D", groups=1), set()),
        # says something
        (_layer("DepthwiseConv2D", groups=2), set()),
        (_layer("GRU", time_major=True), set()),
        (_layer("GRU", time_major=False, units=2), {"time_major"}),
    ],
)
def test_only_options_that_say_nothing_are_dropped(layer: Config, gone: set[str], tmp_path: Path) -> None:
    before = copy.deepcopy(layer["config"])
    config = _adapted(_model(layer), tmp_path)
    after = config["config"]["layers"][1]["config"]
    assert {k: v for k, v in before.items() if k not in gone} == {k: v for k, v in after.items() if k != "unroll"}


@pytest.mark.parametrize(("axis", "expected"), [([3], 3), ([-1], -1), (1, 1), ([1, 2], [1, 2]), ([], []), (None, None)])
def test_the_axis_of_a_normalization_is_a_number(axis: Any, expected: Any, tmp_path: Path) -> None:
    config = _adapted(_model(_layer("BatchNormalization", axis=axis), _layer("LayerNormalization", axis=[3])), tmp_path)
    found = [layer["config"]["axis"] for layer in config["config"]["layers"][1:]]
    assert found == [expected, [3]]


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "SimpleRNN"])
@pytest.mark.parametrize(("steps", "unrolled"), [(1, True), (STEPS, True), (STEPS + 1, False), (None, True)])
def test_few_steps_are_written_out(kind: str, steps: int | None, unrolled: bool, tmp_path: Path) -> None:
    inside = _layer("Bidirectional", layer=_layer(kind, units=2, unroll=False))
    config = _adapted(_model(inside, _layer(kind, units=2), steps=steps), tmp_path)
    outer, plain = config["config"]["layers"][1:]
    assert outer["config"]["layer"]["config"]["unroll"] is unrolled
    assert plain["config"].get("unroll", False) is unrolled


def test_the_longest_of_several_inputs_decides(tmp_path: Path) -> None:
    long = _layer("InputLayer", batch_input_shape=[1, STEPS + 1, 2])
    config = _adapted(_model(long, _layer("GRU")), tmp_path)
    assert "unroll" not in config["config"]["layers"][2]["config"]
    image = _layer("InputLayer", batch_shape=[1, 224, 224, 3])  # no steps
    assert _adapted(_model(image, _layer("GRU")), tmp_path)["config"]["layers"][2]["config"]["unroll"]


def test_everything_else_in_an_archive_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    path = _archive(tmp_path, _model(_layer("Dense", name="größe")))
    found, config = adapted(path, tmp_path / "out")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(found) as new:
        assert old.namelist() == new.namelist()
        for name in ("model.weights.h5", "metadata.json"):
            assert old.read(name) == new.read(name)
        assert json.loads(new.read("config.json")) == config == json.loads(old.read("config.json"))


def test_weights_without_a_network_have_no_configuration(tmp_path: Path) -> None:
    path = _hdf(tmp_path)
    (tmp_path / "out").mkdir()
    found, config = adapted(path, tmp_path / "out")
    assert config == {} and found.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([], []),
        ([_layer("Dense")], []),
        ([_layer("Lambda")], ["Lambda lambda"]),
        ([{"class_name": "Lambda", "config": {}}], ["Lambda"]),
        ([_layer("TimeDistributed", layer=_layer("Lambda", function=["4wEA", None, None]))], ["Lambda lambda"]),
        (
            [_layer("TFOpLambda"), _layer("Dense"), _layer("SlicingOpLambda")],
            ["TFOpLambda tfoplambda", "SlicingOpLambda slicingoplambda"],
        ),
        ([_model(_layer("Lambda"))], ["Lambda lambda"]),  # a model in a model
        ([{"class_name": ["Lambda"], "config": {}}, {"class_name": "Lambda"}, "Lambda", None, 3], []),
    ],
)
def test_layers_with_code_are_found_wherever_they_hide(layers: list[Any], expected: list[str]) -> None:
    assert layers_with_code(_model(*layers)) == expected
