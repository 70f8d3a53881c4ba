"""A recipe before it is checked: values with the place that every key came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from n6convert.errors import RecipeError
from n6convert.recipe.messages import KeyPath
from n6convert.store.yaml_text import read_value

__all__ = ["Draft", "draft_of_model", "overlay", "parse_setting"]

_DEEPEST = 16


@dataclass
class Draft:
    """A recipe before it is checked, with the place every key came from.

    Attributes:
        values: nested plain data.
        places: ``file:line`` or ``--set key=value`` by key path.
        name: of the recipe file or of the model; what messages call the recipe.
        axes: from the recipe's ``sweep``: values by dotted key, open until a sweep or the user chooses one.
    """

    values: dict[str, Any]
    places: dict[KeyPath, str] = field(default_factory=dict)
    name: str = ""
    axes: dict[str, list[Any]] = field(default_factory=dict)

    def merge(self, values: Mapping[str, Any], places: Mapping[KeyPath, str]) -> None:
        """Lay values over this draft: mappings key by key, everything else replaced; a set key is open no more."""
        overlay(self.values, values)
        self.places.update(places)
        for path in places:
            self.axes.pop(".".join(path), None)

    def set(self, path: KeyPath, value: Any, place: str) -> None:
        """Set one nested key.

        Args:
            path: keys from the top.
            value: plain data.
            place: what messages call it.
        """
        nested: Any = value
        for key in reversed(path):
            nested = {key: nested}
        self.merge(nested, {path[:n]: place for n in range(1, len(path) + 1)})


def draft_of_model(model: str) -> Draft:
    """A recipe that says nothing but the model's name."""
    return Draft({"model": model}, name=model)


def parse_setting(text: str) -> tuple[KeyPath, Any]:
    """Split ``a.b=value``; the value is read as YAML.

    Raises:
        RecipeError: no ``=``, an empty key, or a value that is not YAML.
    """
    key, sign, value = text.partition("=")
    path = tuple(key.strip().split("."))
    place = f"--set {text[:200]}"
    if not sign or not all(path) or len(path) > _DEEPEST:
        raise RecipeError("a setting must look like `section.key=value`", place=place, found=text[:200])
    return path, read_value(value, place)


def overlay(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    """Lay values over others: mappings key by key, everything else replaced; ``over`` shares no mapping with them."""
    for key, value in over.items():
        if not isinstance(value, Mapping):
            under[key] = value
            continue
        if not isinstance(under.get(key), dict):
            under[key] = {}
        overlay(under[key], value)
