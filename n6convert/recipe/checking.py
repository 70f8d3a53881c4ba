"""A draft against the schema: every complaint names the file and line, or the setting, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from n6convert.errors import RecipeError
from n6convert.recipe.draft import Draft
from n6convert.recipe.messages import KeyPath, explain, place_of
from n6convert.recipe.schema import Recipe

__all__ = ["check", "finish"]

_T = TypeVar("_T", bound=BaseModel)
#: whole numbers beyond are no size, count or seed
_LARGEST = 1 << 53


def finish(draft: Draft) -> Recipe:
    """Check a draft against the schema.

    Raises:
        RecipeError: an unknown key, a wrong value, no model, or keys left open for a sweep.
    """
    if draft.axes:
        key, values = next(iter(draft.axes.items()))
        raise RecipeError(
            "this recipe is a sweep: it leaves keys open",
            place=draft.name,
            found="; ".join(f"{key}: {', '.join(map(str, some))}" for key, some in draft.axes.items()),
            remedy=f"`n6convert sweep` converts them all; for one, choose with --set {key}={values[0]}",
        )
    for path, value in _numbers(draft.values):
        _check_number(path, value, draft)
    if "model" not in draft.values:
        raise RecipeError("the recipe names no model", place=draft.name, remedy="add a line such as `model: yolov8n`")
    return check(Recipe, draft.values, draft)


def check(schema: type[_T], values: Any, draft: Draft, prefix: KeyPath = ()) -> _T:
    """Validate the section under ``prefix``; complaints point to where the draft's keys were written.

    Args:
        schema: of the section.
        values: plain data.
        draft: knows where keys were written.
        prefix: keys from the top to the section.

    Raises:
        RecipeError: an unknown key or a wrong value.
    """
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise explain(error, schema, draft.places, draft.name, prefix) from None


def _numbers(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, float]]:
    """Every number of a draft with its key path."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _numbers(item, (*path, str(index)))
    elif isinstance(value, (int, float)):
        yield path, value


def _check_number(path: KeyPath, value: float, draft: Draft) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        limit, found = "a finite number", repr(value)
    elif isinstance(value, int) and abs(value) > _LARGEST:
        limit, found = "a whole number up to 2^53", f"one of {value.bit_length()} bits"
    else:
        return
    place = place_of(draft.places, path, draft.name)
    raise RecipeError(f"wrong value for `{'.'.join(path)}`", place=place, limit=limit, found=found)
