"""The data files of targets: what all boards share, one file per board, and boards of other people.

A board is ``boards/NAME.yaml`` here, a YAML file of the user's, or an entry point of the group ``n6convert.targets``
that names such a file. ``extends`` takes everything that a file does not say from another board.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from n6convert.errors import PluginError, RecipeError, SourceError
from n6convert.store.inputs import read_text, user_path

__all__ = ["BOARD_SUFFIXES", "GROUP", "board_names", "known_board", "read_board", "shared"]

GROUP = "n6convert.targets"
"""Entry point group: board name -> a module attribute that holds the path of its YAML file."""
BOARD_SUFFIXES = (".yaml", ".yml")
_DEEPEST = 8
"""Boards that may extend each other in a row."""
_KEYS = frozenset({
    "extends", "description", "series", "cores", "clocks", "pools", "without_pools", "flash_mb_s", "hyperram_mb_s",
    "start_cpu_cycles", "unknown", "unmeasured",
})  # fmt: skip


@lru_cache(maxsize=1)
def shared() -> Mapping[str, Any]:
    """``neural_art.yaml``: units, stock pools, clocks, and all costs."""
    from n6convert.store.yaml_text import read_own

    found: Mapping[str, Any] = read_own("n6convert.npu.targets", "neural_art.yaml")
    return found


def board_names() -> list[str]:
    """The boards that come with n6convert, then those of installed distributions."""
    return list(dict.fromkeys([*_own_boards(), *(entry.name for entry in metadata.entry_points(group=GROUP))]))


@lru_cache(maxsize=1)
def _own_boards() -> tuple[str, ...]:
    files = sorted(entry.name for entry in resources.files(__package__).joinpath("boards").iterdir())
    return tuple(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


def known_board(name: str) -> bool:
    """There is a board of this name."""
    return name in _own_boards() or name in board_names()


@lru_cache(maxsize=16)
def _own_text(name: str) -> str:
    return resources.files(__package__).joinpath("boards", f"{name}.yaml").read_text(encoding="utf-8")


def read_board(name: str) -> Mapping[str, Any]:
    """A board's entries by name or path, with what it extends filled in.

    Raises:
        RecipeError: no such board, an unknown or missing key, boards that extend each other in a circle.
        SourceError: the file is missing or no YAML.
        PluginError: the entry point of an installed board fails.
    """
    found: dict[str, Any] = {}
    at, place = name, name
    for _ in range(_DEEPEST):
        text, place = _text(at, place)
        entries = _parsed(text, place)
        unknown = sorted(set(entries) - _KEYS)
        if unknown:
            raise RecipeError(
                "a board file has unknown keys", place=place, found=", ".join(unknown), limit=", ".join(sorted(_KEYS))
            )
        found = {**entries, **found}
        parent = entries.get("extends")
        if parent is None:
            break
        at = _beside(place, str(parent))
    else:
        raise RecipeError("boards extend each other in a circle", place=place, limit=f"{_DEEPEST} in a row")
    found.pop("extends", None)
    missing = [key for key in ("description", "clocks", "flash_mb_s", "hyperram_mb_s") if key not in found]
    if missing:
        raise RecipeError(
            "a board file lacks keys", place=place, found=", ".join(missing),
            remedy="add them, or `extends: stm32n6570-dk`",
        )  # fmt: skip
    return found


def _beside(place: str, parent: str) -> str:
    """A file that another file extends is looked for beside it."""
    return str(Path(place).parent / parent) if parent.endswith(BOARD_SUFFIXES) else parent


def _text(name: str, place: str) -> tuple[str, str]:
    if name.endswith(BOARD_SUFFIXES):
        return _file_text(user_path(name)), name
    if name in _own_boards():
        return _own_text(name), f"{name}.yaml"
    entry = next((entry for entry in metadata.entry_points(group=GROUP) if entry.name == name), None)
    if entry is not None:
        path = _entry_path(entry)
        return _file_text(path), str(path)
    raise RecipeError("unknown board", place=place, found=name, limit=", ".join(board_names()))


def _entry_path(entry: metadata.EntryPoint) -> Path:
    try:
        return Path(entry.load())
    except Exception as error:  # the code of others may raise anything
        raise PluginError(
            "an installed board cannot be loaded", place=f"{entry.name} = {entry.value}",
            found=f"{type(error).__name__}: {error}", remedy="update or remove the distribution that brings it",
        ) from error  # fmt: skip


def _file_text(path: Path) -> str:
    try:
        return read_text(path)
    except OSError as error:
        raise SourceError("the board file cannot be read", place=path, found=error) from error


def _parsed(text: str, place: str) -> dict[str, Any]:
    from n6convert.store.yaml_text import read_value

    try:
        data = read_value(text, place)
    except RecipeError as error:
        raise SourceError(
            "the board file is no YAML", place=error.place, found=error.found or error.problem, limit=error.limit
        ) from error
    if not isinstance(data, dict):
        raise SourceError("the board file holds no table", place=place, found=type(data).__name__)
    return data
