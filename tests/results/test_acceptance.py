"""Limits of a recipe against what was found: kept at the limit, broken behind it, broken where nothing was measured."""

from __future__ import annotations

from typing import Any

import pytest

from n6convert.errors import RecipeError
from n6convert.recipe.schema import Recipe
from n6convert.results.acceptance import check_measurable, judge, rejection

from .test_results import MEMORY, accuracy, placement, report

LATENCY = {"milliseconds": 5.0, "low": 4.0, "high": 6.0, "epochs": []}


def recipe(**limits: Any) -> Recipe:
    return Recipe.model_validate({"model": "m", "acceptance": limits})


def judged(limits: dict[str, Any], **sections: Any) -> dict[str, tuple[Any, bool]]:
    return {found.limit: (found.found, found.kept) for found in judge(recipe(**limits), report(**sections))}


@pytest.mark.parametrize(("limit", "value", "sections", "kept"), [
    ("max_drop", 0.5, {"accuracy": accuracy(0.5)}, True), ("max_drop", 0, {"accuracy": accuracy(0.25)}, False),
    ("max_drop", 0, {"accuracy": accuracy(-0.25)}, True), ("max_drop", 0.5, {}, False),
    ("min_sqnr_db", 20, {"sqnr_db": {"a": 30.0, "b": 20.0}}, True),
    ("min_sqnr_db", 20, {"sqnr_db": {"a": 19.9}}, False),
    ("min_sqnr_db", 20, {"sqnr_db": {"a": None}}, True), ("min_sqnr_db", 20, {"sqnr_db": {"a": None, "b": 3.0}}, False),
    ("min_sqnr_db", 20, {}, False), ("min_sqnr_db", -5, {"sqnr_db": {"a": -4.0}}, True),
    ("min_offload", 0.9, {"placement": placement(0.9)}, True),
    ("min_offload", 0.9, {"placement": placement(0.89)}, False),
    ("max_flash", 2, {"memory": MEMORY}, True), ("max_flash", 1, {"memory": MEMORY | {"weights": 2}}, False),
    ("must_fit_internal", True, {"memory": MEMORY}, True),
    ("must_fit_internal", True, {"memory": MEMORY | {"external": 1}}, False),
    ("must_fit_internal", True, {"memory": MEMORY | {"fits": False}}, False), ("must_fit_internal", True, {}, False),
])  # fmt: skip
def test_at_the_limit_it_is_kept(limit: str, value: Any, sections: dict[str, Any], kept: bool) -> None:
    ((name, (found, fine)),) = judged({limit: value}, **sections).items()
    assert (name, fine) == (limit, kept) and (found is None) == (not sections)


def test_only_limits_that_are_set_are_judged_and_in_one_order() -> None:
    assert judged({}) == {} == judged({"must_fit_internal": False})
    both = {"max_flash": 5, "max_drop": 1.0}
    assert list(judged(both)) == ["max_drop", "max_flash"] == list(judged(dict(reversed(both.items()))))


def test_the_error_names_each_broken_limit_alone() -> None:
    limits = {"max_drop": 1.0, "max_flash": 5, "min_offload": 0.5}
    made = report(placement=placement(0.25), memory=MEMORY)
    made = made.model_copy(update={"acceptance": judge(recipe(**limits), made)})
    error = rejection(made, "out/rejected")
    assert error.exit_code == 3 and error.place == "acceptance.max_drop, acceptance.min_offload"
    assert (error.limit, error.found) == ("max_drop 1.0, min_offload 0.5", "not measured, 0.25")
    assert "out/rejected" in str(error.remedy)


def test_a_drop_without_labels_is_refused_before_any_work() -> None:
    with pytest.raises(RecipeError, match="needs labeled samples") as caught:
        check_measurable(recipe(max_drop=1.0))
    assert caught.value.place == "acceptance.max_drop" and "--evaluate" in str(caught.value.remedy)
    check_measurable(recipe(max_flash=1))
    check_measurable(
        Recipe.model_validate({"model": "m", "acceptance": {"max_drop": 1}, "evaluation": {"source": "d"}})
    )
