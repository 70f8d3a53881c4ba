"""Shell completion: names of models, targets and settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["models", "settings", "targets"]


def models(incomplete: str) -> list[str]:
    """Names of models and recipes; no plugin is imported for them."""
    from n6convert.recipe.reader import recipe_files
    from n6convert.registry import list_models

    names = {*recipe_files(), *(entry.name for entry in list_models())}
    return sorted(name for name in names if name.startswith(incomplete))


def targets(incomplete: str) -> list[str]:
    """Boards with every compiler version."""
    from n6convert.npu.targets import targets as known

    return [name for name in known() if name.startswith(incomplete)]


def settings(incomplete: str) -> list[str]:
    """Recipe keys, each with its ``=``; behind it the values of a choice."""
    from n6convert.recipe.writing import recipe_schema

    schema = recipe_schema()
    return [word for word in _words(schema, schema, "") if word.startswith(incomplete)]


def _words(node: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
    for name, part in node.get("properties", {}).items():
        key = f"{path}{name}"
        section = _referred(part, schema)
        if "properties" in section:
            yield from _words(section, schema, f"{key}.")
            continue
        yield f"{key}="
        yield from (f"{key}={value}" for value in section.get("enum", []))


def _referred(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema's part with its reference followed."""
    name = str(part.get("$ref") or "").rpartition("/")[2]
    found: dict[str, Any] = schema.get("$defs", {}).get(name, part)
    return found
