"""What a manifest says about packages, recipe and places."""

from __future__ import annotations

from collections.abc import Callable

from n6convert.pipeline.manifest import environment, portable_recipe, to_json
from n6convert.recipe.schema import Calibration, Recipe


def test_environment_follows_requirements_and_extras(distribution: Callable[..., None]) -> None:
    distribution("n6-leaf", {}, {}, version="3.0")
    distribution("n6-middle", {}, {}, requires='n6-leaf; extra == "big"')
    distribution("n6-plain", {}, {}, requires="n6-middle")
    distribution("n6-big", {}, {}, requires="n6-middle[big]")
    assert environment("n6-plain") == {"n6-middle": "1.0", "n6-plain": "1.0"}
    assert environment("n6-big") == {"n6-big": "1.0", "n6-leaf": "3.0", "n6-middle": "1.0"}


def test_absent_requirements_and_circles_do_no_harm(distribution: Callable[..., None]) -> None:
    distribution("n6-a", {}, {}, requires="n6-b")
    distribution("n6-b", {}, {}, requires="n6-a")
    assert environment("n6-a", "no-such-distribution") == {"n6-a": "1.0", "n6-b": "1.0"}


def test_a_distribution_that_is_gone_meanwhile_does_no_harm(distribution: Callable[..., None]) -> None:
    distribution("n6-alone", {}, {})
    assert set(environment("n6-alone", "")) == {"n6-alone"}


def test_recipe_keeps_names_and_loses_places() -> None:
    recipe = Recipe(model="m", weights="/home/me/w.pt", output="/out", calibration=Calibration(source="/data/images"))
    plain = portable_recipe(recipe)
    assert (plain["weights"], plain["calibration"]["source"]) == ("w.pt", "images")
    assert "output" not in plain and "/home" not in to_json(plain).decode()
