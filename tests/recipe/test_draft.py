"""Drafts: what lies over what, where each key was written, and that no draft changes another one."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n6convert.errors import RecipeError
from n6convert.recipe.draft import Draft, draft_of_model, overlay, parse_setting

KEYS = st.sampled_from("abc")
TREES = st.recursive(st.integers(0, 3), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)
SECTIONS = st.dictionaries(KEYS, TREES, max_size=3)


def leaves(tree: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    if not isinstance(tree, dict):
        return {path: tree}
    return {p: v for key, inner in tree.items() for p, v in leaves(inner, (*path, key)).items()}


@given(SECTIONS, SECTIONS)
def test_what_lies_over_wins_and_the_rest_stays(under: dict[str, Any], over: dict[str, Any]) -> None:
    before, given_over = leaves(under), copy.deepcopy(over)
    overlay(under, over)
    after = leaves(under)
    assert over == given_over
    for path, value in leaves(over).items():
        assert after[path] == value
    for path, value in before.items():
        covered = any(path[: len(p)] == p or p[: len(path)] == path for p in leaves(over))
        assert covered or path not in after or after[path] == value


@given(SECTIONS)
def test_laid_over_itself_nothing_changes(tree: dict[str, Any]) -> None:
    twice = copy.deepcopy(tree)
    overlay(twice, tree)
    assert twice == tree


def test_a_base_that_two_drafts_share_is_not_changed_by_either() -> None:
    """A sweep lays its values over one base many times, section by section."""
    base = {"options": {"size": {"width": 1}}, "seed": 0}
    first, second = Draft({}), Draft({"options": 3})
    for draft, width in ((first, 2), (second, 3)):
        draft.merge(base, {})
        draft.set(("options", "size", "width"), width, "here")
    assert (first.values["options"], second.values["options"]) == ({"size": {"width": 2}}, {"size": {"width": 3}})
    assert base == {"options": {"size": {"width": 1}}, "seed": 0}


def test_a_list_or_number_is_replaced_as_a_whole() -> None:
    draft = Draft({"a": {"b": [1, 2], "c": 1}, "d": {"e": 1}})
    draft.merge({"a": {"b": [3]}, "d": None}, {("a", "b"): "file:2"})
    assert draft.values == {"a": {"b": [3], "c": 1}, "d": None} and draft.places == {("a", "b"): "file:2"}


def test_a_key_that_is_set_is_no_axis_any_more() -> None:
    draft = Draft({}, axes={"options.imgsz": [1, 2], "seed": [0, 1], "options": [3]})
    draft.set(("options", "imgsz"), 5, "--set options.imgsz=5")
    assert draft.axes == {"seed": [0, 1]}, "nor is the section around it"
    assert draft.places == {("options",): "--set options.imgsz=5", ("options", "imgsz"): "--set options.imgsz=5"}


def test_a_models_name_is_a_recipe() -> None:
    draft = draft_of_model("yolov8n")
    assert draft.values == {"model": "yolov8n"} and draft.name == "yolov8n" and not draft.axes


@pytest.mark.parametrize(("text", "path", "value"), [
    ("a.b=1", ("a", "b"), 1), ("a=", ("a",), None), (" a.b = x y ", ("a", "b"), "x y"), ("a=b=c", ("a",), "b=c"),
    ("a=[1, two, null]", ("a",), [1, "two", None]), ("a={b: 1.5}", ("a",), {"b": 1.5}), ("a='1'", ("a",), "1"),
    ("a=größe", ("a",), "größe"), ("a.0=1", ("a", "0"), 1), ("a=1e-3", ("a",), "1e-3"), ("a=1.0e-3", ("a",), 0.001),
])  # fmt: skip
def test_settings_are_yaml_behind_a_key(text: str, path: tuple[str, ...], value: object) -> None:
    assert parse_setting(text) == (path, value)


@pytest.mark.parametrize("text", ["", "a", "=1", ".a=1", "a.=1", "a..b=1", ".".join("a" * 17) + "=1", "a=: :"])
def test_what_is_no_setting(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_setting(text)
    assert str(caught.value.place).startswith("--set ") and caught.value.exit_code == 2
