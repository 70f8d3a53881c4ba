"""Recipes as text: the whole recipe in YAML, and its JSON Schema for editors."""

from __future__ import annotations

from typing import Any

import yaml

from n6convert.recipe.schema import Recipe

__all__ = ["recipe_schema", "to_yaml"]


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of recipe files, for editors."""
    schema = Recipe.model_json_schema()
    base = {"type": "string", "description": "name or path of a recipe to start from; one level", "title": "Extends"}
    axes = {
        "type": "object",
        "title": "Sweep",
        "additionalProperties": {"type": "array", "minItems": 1},
        "description": "for `n6convert sweep`: values to try by dotted key, such as `options.imgsz: [192, 256]`",
    }
    schema["properties"] = {"extends": base} | schema["properties"] | {"sweep": axes}
    schema.pop("required", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def to_yaml(recipe: Recipe) -> str:
    """The full recipe as YAML, every key with its value, ready to save and change."""
    dumped: str = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)
    return dumped
