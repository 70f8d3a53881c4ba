"""What can only fail later is refused before any work, at the place where the user wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from n6convert.errors import RecipeError, SourceError, ToolError
from n6convert.pipeline import preflight
from n6convert.recipe.draft import Draft
from n6convert.recipe.schema import Recipe


def _refuse(places: dict[tuple[str, ...], str] | None = None, **values: Any) -> None:
    recipe = Recipe.model_validate({"model": "onnx"} | values)
    draft = Draft({}, dict(places or {}))
    preflight.check_recipe(recipe, draft)


def test_a_plain_recipe_passes() -> None:
    _refuse()


@pytest.mark.parametrize(
    ("section", "key"),
    [("calibration", "source"), ("evaluation", "source"), ("quantization", "ranges_file"), ("compiler", "pools")],
)
def test_files_that_do_not_exist(section: str, key: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "absent")
    with pytest.raises(SourceError, match=f"`{section}.{key}`") as caught:
        _refuse({(section, key): "net.yaml:7"}, **{section: {key: missing}})
    assert (caught.value.place, caught.value.found) == ("net.yaml:7", missing)
    (tmp_path / "absent").write_text("")
    _refuse(**{section: {key: missing}})


def test_a_key_without_a_place_is_its_own() -> None:
    with pytest.raises(SourceError) as caught:
        _refuse(calibration={"source": "/absent/folder"})
    assert caught.value.place == "calibration.source"


def test_boards_that_nobody_knows() -> None:
    with pytest.raises(RecipeError) as caught:
        _refuse({("target",): "line 2"}, target="stm32n6570-dx@4.0")
    assert caught.value.place == "line 2"
    with pytest.raises(RecipeError) as caught:
        _refuse({("package", "profiles"): "line 9"}, package={"profiles": ["nowhere"]})
    assert caught.value.place == "line 9"


@pytest.mark.parametrize(("target", "refused"), [("2.2", True), ("3.0", False)])
def test_four_bits_need_core_3(target: str, refused: bool) -> None:
    values = {"target": f"stm32n6570-dk@{target}", "quantization": {"weights": "int4"}}
    if not refused:
        _refuse(**values)
        return
    with pytest.raises(RecipeError, match="no four-bit weights") as caught:
        _refuse(**values)
    assert (caught.value.limit, caught.value.found) == ("core 3.0 and later", "2.2")


@pytest.mark.parametrize("key", ["rules", "exclude", "approximate"])
def test_a_rewrite_that_is_misspelled_is_named_with_its_neighbor(key: str) -> None:
    with pytest.raises(RecipeError, match="no rewrite 'softmax-decompos'") as caught:
        _refuse({("rewrite", key): "line 4"}, rewrite={key: ["softmax-decompos"]})
    assert caught.value.place == "line 4" and "softmax-decompose" in str(caught.value.remedy)


def test_tuning_needs_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="torch") as caught:
        _refuse({("tune", "enabled"): "line 5"}, tune={"enabled": True})
    assert caught.value.place == "line 5" and "n6convert[tune]" in str(caught.value.remedy)
    _refuse(tune={"enabled": False})
