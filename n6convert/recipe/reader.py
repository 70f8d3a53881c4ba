"""Reading recipes: YAML with line numbers, one level of ``extends``, settings from the command line.

Every complaint names the file and line (or the setting), the nearest valid key, and what is allowed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from n6convert.errors import RecipeError, SourceError
from n6convert.naming import nearest
from n6convert.recipe.messages import KeyPath, explain, place_of
from n6convert.recipe.project import read_project
from n6convert.recipe.schema import Recipe
from n6convert.store.inputs import exists, is_file, read_text
from n6convert.store.yaml_text import compose, plain, read_value

__all__ = [
    "Draft",
    "check",
    "draft_of_file",
    "draft_of_model",
    "finish",
    "over_project",
    "parse_setting",
    "recipe_files",
    "recipe_schema",
    "to_yaml",
]

_T = TypeVar("_T", bound=BaseModel)
_GROUP = "n6convert.recipes"
_PATHS: tuple[KeyPath, ...] = (
    ("weights",),
    ("calibration", "source"),
    ("evaluation", "source"),
    ("quantization", "ranges_file"),
    ("compiler", "pools"),
)
_DEEPEST = 16
#: whole numbers beyond are no size, count or seed
_LARGEST = 1 << 53


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
        _overlay(self.values, values)
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


def recipe_files() -> dict[str, Path]:
    """Ready recipes by name: the core's own and those that plugins ship.

    A plugin ships recipes through an entry point in the group ``n6convert.recipes`` whose value is its package; the
    files lie in that package's folder ``recipes``. The package is not imported.

    Raises:
        RecipeError: two different files have one name.
    """
    found: dict[str, Path] = {}
    for path in (p for folder in _folders() for p in sorted(folder.glob("*.yaml"))):
        other = found.setdefault(path.stem, path)
        if other != path:
            raise RecipeError(
                f"two recipes are called {path.stem!r}",
                place=f"{other} and {path}",
                remedy="uninstall one of the packages, or give the path of the recipe instead of its name",
            )
    return found


def draft_of_model(model: str) -> Draft:
    """A recipe that says nothing but the model's name."""
    return Draft({"model": model}, name=model)


def over_project(draft: Draft) -> Draft:
    """The draft over the project's defaults (:mod:`n6convert.recipe.project`).

    Raises:
        RecipeError: the project file is damaged or says what a project cannot say.
    """
    project = read_project(str(draft.values.get("model", "")))
    _anchor_paths(project.values, project.folder)
    whole = Draft(project.values, dict(project.places), draft.name, dict(draft.axes))
    for axis in whole.axes:
        _forget(whole.values, tuple(axis.split(".")))
    _overlay(whole.values, draft.values)
    whole.places.update(draft.places)
    return whole


def _forget(values: dict[str, Any], path: KeyPath) -> None:
    """Drop a nested key: a sweep leaves it open."""
    for key in path[:-1]:
        values = values.get(key, {})
    values.pop(path[-1], None)


def draft_of_file(path: Path) -> Draft:
    """Read a recipe file and, if it ``extends`` another, lay it over that one.

    Paths inside a file are relative to the file, except ``output``, which is relative to the working folder.

    Raises:
        SourceError: the file cannot be read.
        RecipeError: not YAML, not a mapping, a key twice, or a base that is missing or itself extends another.
    """
    top = _read(path)
    base = top.values.pop("extends", None)
    if base is None:
        return top
    place = top.places.pop(("extends",))
    draft = _read(_base_path(base, path, place))
    if "extends" in draft.values:
        raise RecipeError(
            f"the base {base!r} extends another recipe itself",
            place=place,
            limit="one level of `extends`",
            found=f"extends: {draft.values['extends']}",
            remedy=f"extend {draft.values['extends']!r} directly and repeat the few keys that differ",
        )
    draft.merge(top.values, top.places)
    draft.axes |= top.axes
    draft.name = top.name
    return draft


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


def _folders() -> Iterator[Path]:
    package = Path(__file__).resolve().parents[1]
    shipped = package / "recipes"
    yield shipped if shipped.is_dir() else package.parent / "recipes"
    for value in sorted({entry.value for entry in entry_points(group=_GROUP)}):
        top, *rest = value.partition(":")[0].split(".")
        spec = find_spec(top)
        for location in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(location, *rest)
            yield folder / "recipes" if (folder / "recipes").is_dir() else folder


def _base_path(base: Any, path: Path, place: str) -> Path:
    ready = recipe_files()
    if not isinstance(base, str):
        limit = "the path or name of one recipe"
        raise RecipeError("`extends` must be text", place=place, limit=limit, found=repr(base))
    beside = path.parent / base
    if is_file(beside):
        return beside
    if base in ready:
        return ready[base]
    close = nearest(base[:200], ready)
    raise RecipeError(
        f"the base {base[:200]!r} does not exist",
        place=place,
        limit=f"a path, or one of {', '.join(ready)}",
        remedy=f"did you mean {' or '.join(close)}?" if close else None,
    )


def _read(path: Path) -> Draft:
    try:
        text = read_text(path)
    except (OSError, SourceError) as error:
        found = error.found or error.problem if isinstance(error, SourceError) else error
        raise SourceError("the recipe cannot be read", place=path, found=found) from error

    def place(line: int | None) -> str:
        return f"{path}:{line}" if line else str(path)

    node = compose(text, place)
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError("a recipe is a YAML mapping", place=path, limit="lines such as `model: yolov8n`")
    draft = Draft({}, name=path.name)
    for keys, line in _walk(node, path, ()):
        draft.places[keys] = f"{path}:{line}"
    draft.values = plain(node, place)
    draft.axes = _axes(draft.values.pop("sweep", {}), draft.places.get(("sweep",), str(path)))
    _anchor_paths(draft.values, path.resolve().parent)
    return draft


def _axes(section: Any, place: str) -> dict[str, list[Any]]:
    if not isinstance(section, dict) or not all(isinstance(v, list) and v for v in section.values()):
        limit = "lists of values by dotted key, such as `options.imgsz: [192, 256]`"
        raise RecipeError("wrong value for `sweep`", place=place, limit=limit, found=repr(section))
    return section


def _walk(node: yaml.Node, path: Path, prefix: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """Every key path with its line; refuses a key that is written twice, since YAML would silently keep the last."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        name = str(key.value)
        if name in seen:
            raise RecipeError(
                f"the key `{'.'.join((*prefix, name))}` is written twice",
                place=f"{path}:{line}",
                found=f"first on line {seen[name]}",
                remedy="keep one of the two",
            )
        seen[name] = line
        yield (*prefix, name), line
        yield from _walk(value, path, (*prefix, name))


def _anchor_paths(values: dict[str, Any], folder: Path) -> None:
    """Make paths in a recipe file relative to that file; weights stay a name unless such a file is there."""
    for section in _PATHS:
        parent: Any = values
        for key in section[:-1]:
            parent = parent.get(key) if isinstance(parent, dict) else None
        value = parent.get(section[-1]) if isinstance(parent, dict) else None
        if isinstance(value, str) and (section != ("weights",) or exists(folder / value)):
            parent[section[-1]] = str(folder / value)


def _overlay(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(under.get(key), dict):
            _overlay(under[key], value)
        else:
            under[key] = dict(value) if isinstance(value, Mapping) else value


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
