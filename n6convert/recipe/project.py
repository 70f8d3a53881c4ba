"""Defaults of a project: ``n6convert.toml``, or ``[tool.n6convert]`` in ``pyproject.toml``, and ``N6CONVERT_TARGET``.

The nearest file counts, looked for from the working folder upwards to the top of the checkout or the home folder. Its
keys are those of a recipe; ``[models.NAME]`` holds for one model, options of its plugin included. A recipe, an option
or ``--set`` says more than either.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from n6convert.errors import N6ConvertError, RecipeError
from n6convert.logs import logger
from n6convert.store.inputs import is_file, read_text

__all__ = ["TARGET", "Project", "default_target", "project_file", "read_project"]

_LOG = logger(__name__)
TARGET = "N6CONVERT_TARGET"
_OWN, _PYTHON = "n6convert.toml", "pyproject.toml"
_MODELS = "models"
#: what a project cannot say for all models
_REFUSED = {"model": "the command names it", "extends": "give a recipe instead", "options": "say it in [models.NAME]"}


@dataclass(frozen=True)
class Project:
    """Defaults for one model, with the place each key came from.

    Attributes:
        values: nested plain data, as a recipe has it.
        places: ``file: key`` by key path.
        folder: paths in ``values`` are relative to it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[tuple[str, ...], str] = field(default_factory=dict)
    folder: Path = Path()


def project_file(start: Path | None = None) -> Path | None:
    """The nearest project file above a folder (default the working folder), or None."""
    folder = (start or Path.cwd()).resolve()
    for place in (folder, *folder.parents):
        if is_file(place / _OWN):
            return place / _OWN
        if is_file(place / _PYTHON) and _table(place / _PYTHON) is not None:
            return place / _PYTHON
        if (place / ".git").exists() or place == Path.home():
            return None
    return None


def read_project(model: str, start: Path | None = None) -> Project:
    """Defaults for a model: the file's, those for the model over them, ``N6CONVERT_TARGET`` over both.

    Raises:
        RecipeError: the file is no TOML, or says what a project cannot say.
    """
    path = project_file(start)
    table = dict(_table(path) or {}) if path else {}
    models = table.pop(_MODELS, {})
    for key, remedy in _REFUSED.items():
        if key in table:
            raise RecipeError(f"a project has no key `{key}`", place=f"{path}: {key}", remedy=remedy)
    if path:
        _LOG.info("defaults from %s", path)
    project = Project(folder=path.parent if path else Path())
    if not isinstance(models, dict):
        raise RecipeError("`models` holds a table for each model", place=f"{path}: models", found=models)
    for prefix, part in (("", table), (f"{_MODELS}.{model}.", models.get(model, {}))):
        _lay(project.values, part)
        project.places.update({key: f"{path}: {prefix}{'.'.join(key)}" for key in _keys(part)})
    if target := os.environ.get(TARGET):
        project.values["target"] = target
        project.places[("target",)] = TARGET
    return project


def default_target() -> str | None:
    """The target for commands that follow no recipe: ``N6CONVERT_TARGET``, or the project's."""
    found = read_project("").values.get("target")
    return found if isinstance(found, str) else None


def _table(path: Path) -> Mapping[str, Any] | None:
    """The defaults in a file; None for a pyproject.toml without any."""
    try:
        content = tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, OSError, N6ConvertError) as error:
        if path.name == _PYTHON:
            return None  # somebody else's file
        raise RecipeError("the project file is no TOML", place=path, found=error) from None
    if path.name == _OWN:
        return content
    found = content.get("tool", {})
    return found.get("n6convert") if isinstance(found, dict) else None


def _keys(values: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in values.items() if isinstance(values, dict) else ():
        yield (*prefix, key)
        yield from _keys(value, (*prefix, key))


def _lay(under: dict[str, Any], over: Mapping[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, Mapping):
            own = under.get(key)
            under[key] = dict(own) if isinstance(own, dict) else {}
            _lay(under[key], value)
        else:
            under[key] = value
