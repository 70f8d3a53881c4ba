"""Turning pydantic's complaints about a recipe into one message a person can act on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from n6convert.errors import RecipeError
from n6convert.naming import nearest

__all__ = ["KeyPath", "explain", "place_of"]

KeyPath = tuple[str, ...]
Schema = Mapping[str, Any]

_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "object": "a section of keys",
}
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def explain(
    error: ValidationError, schema: type[BaseModel], places: Mapping[KeyPath, str], name: str, prefix: KeyPath = ()
) -> RecipeError:
    """One RecipeError for all of pydantic's complaints.

    Args:
        error: what pydantic raised.
        schema: the model that was checked.
        places: where each key was written, by full key path.
        name: of the recipe, for keys that were written nowhere.
        prefix: path of the checked section within the recipe.
    """
    root = schema.model_json_schema()
    complaints: dict[KeyPath, RecipeError] = {}
    for item in error.errors(include_url=False, include_context=True):
        path, node, parent = _locate(root, item["loc"])
        full = prefix + path
        if full not in complaints:
            complaints[full] = _complaint(item, full, node, parent, root, place_of(places, full, name))
    found = list(complaints.values())
    if len(found) == 1:
        return found[0]
    lines = "\n".join(f"- {str(c).replace(chr(10), chr(10) + '  ')}" for c in found)
    return RecipeError(f"the recipe has {len(found)} mistakes\n{lines}")


def _complaint(item: Any, path: KeyPath, node: Schema, parent: Schema, root: Schema, place: str) -> RecipeError:
    key = ".".join(path)
    if item["type"] == "extra_forbidden":
        known = list(parent.get("properties", {}))
        return RecipeError(
            f"unknown key `{key}`", place=place, limit=", ".join(known), remedy=_suggestion(path, known, root)
        )
    if item["type"] == "missing":
        return RecipeError(f"the key `{key}` is missing", place=place, limit=_describe(node, root))
    problem = f"wrong value for `{key}`"
    if item["type"] in {"value_error", "assertion_error"}:
        return RecipeError(f"{problem}: {item['msg'].partition(', ')[2] or item['msg']}", place=place)
    value = item["input"]
    close = nearest(str(value), map(str, _choices(node, root)))
    remedy = f"did you mean {' or '.join(close)}?" if close else None
    return RecipeError(problem, place=place, limit=_describe(node, root), found=repr(value)[:200], remedy=remedy)


def _locate(root: Schema, loc: Sequence[int | str]) -> tuple[KeyPath, Schema, Schema]:
    """Key path, its schema node and the node's parent; parts of ``loc`` that name a union's branch are left out."""
    node, parent = root, root
    path: list[str] = []
    for part in loc:
        step = _step(node, part, root)
        if step is None and part != loc[-1]:
            continue
        if step is None and not (_resolve(node, root).get("properties") and isinstance(part, str)):
            continue
        path.append(str(part))
        parent, node = _resolve(node, root), step or {}
    return tuple(path), node, parent


def _step(node: Schema, part: int | str, root: Schema) -> Schema | None:
    for branch in _branches(node, root):
        if isinstance(part, int) and "items" in branch:
            return branch["items"]  # type: ignore[no-any-return]
        if part in branch.get("properties", {}):
            return branch["properties"][part]  # type: ignore[no-any-return]
        if isinstance(branch.get("additionalProperties"), dict) and isinstance(part, str):
            return branch["additionalProperties"]  # type: ignore[no-any-return]
    return None


def _resolve(node: Schema, root: Schema) -> Schema:
    while "$ref" in node:
        node = root["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def _branches(node: Schema, root: Schema) -> Iterator[Schema]:
    node = _resolve(node, root)
    parts = node.get("anyOf") or node.get("oneOf") or node.get("allOf")
    if not parts:
        yield node
        return
    for part in parts:
        yield from _branches(part, root)


def _choices(node: Schema, root: Schema) -> list[Any]:
    return [c for b in _branches(node, root) for c in b.get("enum", [b["const"]] if "const" in b else [])]


def _describe(node: Schema, root: Schema) -> str | None:
    """What a value may be, in words: ``one of minmax, mse``, ``a number > 0``, ``text matching ^a+$ or null``."""
    words = [w for branch in _branches(node, root) if (w := _describe_branch(branch, root))]
    return " or ".join(words) or None


def _describe_branch(branch: Schema, root: Schema) -> str:
    choices = _choices(branch, root)
    if choices:
        return f"one of {', '.join(map(str, choices))}" if len(choices) > 1 else repr(choices[0])
    if branch.get("type") == "array":
        return f"a list, each {_describe(branch.get('items', {}), root) or 'any value'}"
    if branch.get("properties"):
        return f"a section with the keys {', '.join(branch['properties'])}"
    limits = [f"{sign} {branch[bound]}" for bound, sign in _BOUNDS.items() if bound in branch]
    limits += [f"matching {branch['pattern']}"] if "pattern" in branch else []
    return f"{_TYPES.get(branch.get('type', ''), '')} {' and '.join(limits)}".strip()


def _suggestion(path: KeyPath, known: list[str], root: Schema) -> str | None:
    close = nearest(path[-1], known)
    if close:
        return f"did you mean {' or '.join(close)}?"
    elsewhere = [".".join(p) for p in _all_paths(root, root) if p[-1] == path[-1]]
    return f"did you mean {' or '.join(elsewhere)}?" if elsewhere else None


def _all_paths(node: Schema, root: Schema) -> Iterator[KeyPath]:
    for key, child in _resolve(node, root).get("properties", {}).items():
        yield (key,)
        for rest in _all_paths(child, root):
            yield (key, *rest)


def place_of(places: Mapping[KeyPath, str], path: KeyPath, name: str) -> str:
    """Where a key, or the section around it, was written; else the recipe's name.

    Args:
        places: by key path.
        path: of the key.
        name: of the recipe.
    """
    for length in range(len(path), 0, -1):
        if path[:length] in places:
            return places[path[:length]]
    return name
