"""Pydantic's complaints in words: the key, its place, what is allowed, the nearest name."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from n6convert.errors import RecipeError
from n6convert.recipe.checking import check, finish
from n6convert.recipe.draft import Draft
from n6convert.recipe.messages import explain, place_of


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(default=1, gt=0, le=10)
    name: str = Field(default="a", pattern="^a+$")
    mode: Literal["fast", "slow"] = "fast"
    rate: float | None = None
    parts: list[Literal["left", "right"]] = []
    table: dict[str, int] = {}


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    model: str
    inner: Inner = Inner()
    either: Literal["auto"] | list[str] = "auto"
    odd: int = 0

    @field_validator("odd")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value == 13:
            raise ValueError("thirteen brings bad luck, take twelve")
        return value


KEYS = "size, name, mode, rate, parts, table"


def told(values: Any, places: dict[tuple[str, ...], str] | None = None, prefix: tuple[str, ...] = ()) -> RecipeError:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    return explain(caught.value, Outer, places or {}, "recipe.yaml", prefix)


@pytest.mark.parametrize(("values", "problem", "limit", "found", "remedy"), [
    ({"inner": {"size": 0}}, "wrong value for `inner.size`", "a whole number > 0 and <= 10", "0", None),
    ({"inner": {"size": "x"}}, "wrong value for `inner.size`", "a whole number > 0 and <= 10", "'x'", None),
    ({"inner": {"name": "b"}}, "wrong value for `inner.name`", "text matching ^a+$", "'b'", None),
    ({"inner": {"mode": "fats"}}, "wrong value for `inner.mode`", "one of fast, slow", "'fats'", "did you mean fast?"),
    ({"inner": {"mode": 7}}, "wrong value for `inner.mode`", "one of fast, slow", "7", None),
    ({"inner": {"rate": "high"}}, "wrong value for `inner.rate`", "a number or null", "'high'", None),
    ({"inner": {"parts": ["l"]}}, "wrong value for `inner.parts.0`", "one of left, right", "'l'", None),
    ({"inner": {"parts": 3}}, "wrong value for `inner.parts`", "a list, each one of left, right", "3", None),
    ({"inner": {"table": {"k": "x"}}}, "wrong value for `inner.table.k`", "a whole number", "'x'", None),
    ({"inner": 3}, "wrong value for `inner`", f"a section with the keys {KEYS}", "3", None),
    ({"either": 5}, "wrong value for `either`", "'auto' or a list, each text", "5", None),
    ({"inner": {"szie": 3}}, "unknown key `inner.szie`", KEYS, None, "did you mean size?"),
    ({"rate": 3}, "unknown key `rate`", "model, inner, either, odd", None, "did you mean inner.rate?"),
    ({"zzzz": 3}, "unknown key `zzzz`", "model, inner, either, odd", None, None),
    ({"odd": 13}, "wrong value for `odd`: thirteen brings bad luck, take twelve", None, None, None),
])  # fmt: skip
def test_one_mistake(values: Any, problem: str, limit: str | None, found: str | None, remedy: str | None) -> None:
    error = told({"model": "m"} | values)
    assert (error.problem, error.limit, error.found, error.remedy) == (problem, limit, found, remedy)
    assert error.place == "recipe.yaml"


def test_a_key_that_is_missing() -> None:
    error = told({})
    assert error.problem == "the key `model` is missing" and error.limit == "text"


def test_several_mistakes_are_one_error_each_once() -> None:
    error = told({"model": 3, "inner": {"size": 0, "moed": 1}, "either": 5})
    assert error.problem.startswith("the recipe has 4 mistakes\n- ")
    for key in ("`model`", "`inner.size`", "`inner.moed`", "`either`"):
        assert error.problem.count(key) == 1


def test_a_long_value_is_shown_in_part() -> None:
    assert len(str(told({"model": "m", "inner": {"size": "9" * 900 + "x"}}).found)) == 200


def test_places_are_those_of_the_nearest_section_that_was_written() -> None:
    places = {("a",): "f:1", ("a", "b"): "f:2", ("c",): "--set c=1"}
    asked = {("a", "b", "c"): "f:2", ("a", "x"): "f:1", ("c",): "--set c=1", ("d", "b"): "name", (): "name"}
    assert {path: place_of(places, path, "name") for path in asked} == asked
    assert told({"model": "m", "inner": {"size": 0}}, {("options", "inner"): "f:7"}, ("options",)).place == "f:7"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 1 << 60, [1, 1 << 60], {"x": float("nan")}]
)
def test_numbers_that_are_no_size_are_refused_wherever_they_stand(value: object) -> None:
    draft = Draft({"model": "yolov8n", "options": {"imgsz": value}}, {("options", "imgsz"): "r.yaml:3"}, "r.yaml")
    with pytest.raises(RecipeError, match=r"wrong value for `options\.imgsz") as caught:
        finish(draft)
    assert caught.value.place == "r.yaml:3" and "number" in str(caught.value.limit)


def test_a_recipe_without_a_model_or_with_axes() -> None:
    with pytest.raises(RecipeError, match="names no model") as caught:
        finish(Draft({}, name="r.yaml"))
    assert caught.value.place == "r.yaml" and "model:" in str(caught.value.remedy)
    with pytest.raises(RecipeError, match="is a sweep") as caught:
        finish(Draft({"model": "m"}, name="r.yaml", axes={"options.imgsz": [192, 256], "seed": [1]}))
    assert caught.value.found == "options.imgsz: 192, 256; seed: 1"
    assert "--set options.imgsz=192" in str(caught.value.remedy)


def test_a_section_is_checked_under_its_own_path() -> None:
    draft = Draft({}, {("options", "size"): "r.yaml:9"}, "r.yaml")
    assert check(Inner, {"size": 3}, draft, ("options",)).size == 3
    with pytest.raises(RecipeError, match=r"`options\.size`") as caught:
        check(Inner, {"size": 30}, draft, ("options",))
    assert caught.value.place == "r.yaml:9"
