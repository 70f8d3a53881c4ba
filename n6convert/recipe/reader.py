"""Reading recipes: YAML with line numbers, one level of ``extends``, settings from the command line.

Every complaint names the file and line (or the setting), the nearest valid key, and what is allowed.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from n6convert.errors import RecipeError, SourceError
from n6convert.naming import nearest
from n6convert.recipe.draft import Draft, overlay
from n6convert.recipe.messages import KeyPath
from n6convert.recipe.project import read_project
from n6convert.store.inputs import exists, is_file, read_text
from n6convert.store.yaml_text import compose, plain

__all__ = ["draft_of_file", "over_project", "recipe_files"]

_GROUP = "n6convert.recipes"
_PATHS: tuple[KeyPath, ...] = (
    ("weights",),
    ("calibration", "source"),
    ("evaluation", "source"),
    ("quantization", "ranges_file"),
    ("compiler", "pools"),
)


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


def over_project(draft: Draft, *, of_model: bool = False) -> Draft:
    """The draft over the project's defaults (:mod:`n6convert.recipe.project`).

    Args:
        draft: of a recipe or a model.
        of_model: a model was named and no recipe: the ready recipe of that name is the model's default, so that the
            project's are laid over it.

    Raises:
        RecipeError: the project file is damaged or says what a project cannot say.
    """
    project = read_project(str(draft.values.get("model", "")))
    _anchor_paths(project.values, project.folder)
    for axis in draft.axes:
        _forget(project.values, tuple(axis.split(".")))
    if of_model:
        draft.merge(project.values, project.places)
        return draft
    whole = Draft(project.values, dict(project.places), draft.name, dict(draft.axes))
    overlay(whole.values, draft.values)
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
