"""What a user named, as a recipe: models, ready recipes, files of both kinds, and keys laid over them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from n6convert.api import conversion
from n6convert.api.conversion import keyed, make_draft
from n6convert.errors import N6ConvertError, RecipeError, UsageError
from n6convert.recipe.checking import finish
from n6convert.recipe.draft import Draft
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.recipe.schema import Recipe


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with files of every kind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.yaml").write_text("model: yolov8n\nseed: 7\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "recipe").write_text("model: yolov8n\nseed: 8\n")
    (tmp_path / "in" / "binary").write_bytes(b"\x08\x08\x12\x00")
    (tmp_path / "in" / "empty").touch()
    for name in ("net.onnx", "net.TFLITE", "net.h5", "folder.odd"):
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(("given", "values"), [
    ("yolov8n", {"model": "yolov8n"}),
    ("own.yaml", {"model": "yolov8n", "seed": 7}), (Path("own.yaml"), {"seed": 7}), ("in/recipe", {"seed": 8}),
    ("net.onnx", {"model": "onnx", "weights": "net.onnx"}), ("net.TFLITE", {"model": "onnx", "weights": "net.TFLITE"}),
    ("net.h5", {"model": "onnx", "weights": "net.h5"}), ("folder.odd", {"model": "onnx", "weights": "folder.odd"}),
    ("in/binary", {"model": "onnx", "weights": "in/binary"}), ("in/empty", {"model": "onnx", "weights": "in/empty"}),
    ("in", {"model": "onnx", "weights": "in"}), ("./net.onnx", {"model": "onnx"}),
    ({"model": "toy", "seed": 3}, {"model": "toy", "seed": 3}), (Recipe(model="toy"), {"model": "toy", "seed": 0}),
])  # fmt: skip
def test_what_can_be_named(given: Any, values: dict[str, Any], work: Path) -> None:
    found = make_draft(given).values
    assert {key: found.get(key) for key in values} == values


@pytest.mark.parametrize(("given", "words"), [
    ("yolov9n", "did you mean"), ("nowhere.onnx", "does not exist"), ("nowhere.yaml", "does not exist"),
    ("in/nowhere", "does not exist"), ("net.onx", "did you mean net.onnx"), ("own.yml", "did you mean own.yaml"),
    ("zzzzzz", "zzzzzz"), ("a/" + "b" * 5000, "does not exist"), ("a\0b", "a"),
])  # fmt: skip
def test_what_is_not_there(given: str, words: str, work: Path) -> None:
    with pytest.raises(N6ConvertError) as caught:
        finish(make_draft(given))
    assert words in str(caught.value)


def test_a_mapping_is_copied_and_a_models_name_is_enough(work: Path) -> None:
    given = {"model": "toy", "options": {"a": 1}}
    draft = make_draft(given)
    draft.set(("options", "a"), 2, "here")
    draft.set(("seed",), 5, "here")
    assert given == {"model": "toy", "options": {"a": 1}} and make_draft("in").name == "in"
    assert make_draft("own.yaml").places["seed",].endswith("own.yaml:2")


def test_keys_lie_over_the_recipe_and_settings_over_both() -> None:
    draft = keyed(
        Draft({"model": "toy",
        "seed": 1}), seed=2, weights=Path("w.pt"), calibration="photos", evaluation={"source": "d", "samples": 5},
        imgsz=256, quantization=QuantizationConfig(ranges="minmax"), output=None,
        settings={"seed": 3, "options.imgsz": 320, "quantization.ranges": "mse"},
    )  # fmt: skip
    assert draft.values["seed"] == 3 and draft.values["weights"] == "w.pt" and "output" not in draft.values
    assert draft.values["calibration"] == {"source": "photos"} and draft.values["evaluation"]["samples"] == 5
    assert draft.values["options"] == {"imgsz": 320} and draft.values["quantization"]["ranges"] == "mse"
    assert (
        draft.places["seed",] == "settings['seed']" and draft.places["calibration", "source"] == "argument calibration"
    )
    assert finish(draft).quantization.ranges == "mse"


@pytest.mark.parametrize(("keys", "place"), [
    ({"seed": "x"}, "argument seed"), ({"settings": {"seed": "x"}}, "settings['seed']"),
    ({"quantization": {"ranges": "mes"}}, "argument quantization"), ({"calibration": {"samples": -1}},
    "argument calibration"),
])  # fmt: skip
def test_a_wrong_key_names_the_argument(keys: dict[str, Any], place: str) -> None:
    with pytest.raises(RecipeError) as caught:
        finish(keyed(Draft({"model": "toy"}), **keys))
    assert caught.value.place == place


@pytest.mark.parametrize("times", [0, 1, 99])
def test_what_a_cache_lost_is_made_again_a_few_times(times: int) -> None:
    run: Any = SimpleNamespace(artifacts={"a": SimpleNamespace(entry="entry")}, cache=SimpleNamespace(lost=list))
    tries: list[int] = []

    def make() -> Any:
        tries.append(1)
        run.artifacts["a"] = SimpleNamespace(entry="entry")
        if len(tries) <= times:
            raise FileNotFoundError("gone")
        return "made"

    if times == 99:
        with pytest.raises(FileNotFoundError):
            conversion._lasting(run, make)
        assert len(tries) == conversion._TRIES > 1
    else:
        assert conversion._lasting(run, make) == "made"  # type: ignore[comparison-overlap]
        assert len(tries) == times + 1


def test_an_error_of_another_kind_is_not_tried_again() -> None:
    run: Any = SimpleNamespace(artifacts={"a": SimpleNamespace(entry="e")}, cache=SimpleNamespace(lost=lambda e: False))
    with pytest.raises(ZeroDivisionError):
        conversion._lasting(run, lambda: 1 // 0)  # type: ignore[arg-type, return-value]
    assert run.artifacts, "nothing was lost"


def test_a_recipe_without_a_model_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="names no model"):
        finish(make_draft({}))
