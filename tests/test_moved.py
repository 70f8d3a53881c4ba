"""Old import paths work for one minor version, and say so."""

from __future__ import annotations

import ast
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from n6convert.moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_gives_the_module_of_the_new_one(old: str) -> None:
    new = import_module(f"n6convert.{MOVED[old]}")
    sys.modules.pop(f"n6convert.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"is n6convert.{MOVED[old]} since"):
        assert import_module(f"n6convert.{old}") is new
    assert new.__name__ == new.__spec__.name == f"n6convert.{MOVED[old]}"  # type: ignore[union-attr]


def test_the_builder_of_plugins_under_its_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="n6convert.plugin.graphs.Builder"):
        from n6convert.rewrites import Builder
    from n6convert.plugin import graphs

    assert Builder is graphs.Builder


def test_other_names_are_still_not_found() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModuleNotFoundError):
            import_module("n6convert.rewrites.nothing")


def test_nothing_here_uses_an_old_path() -> None:
    root = Path(__file__).parents[1]
    files = [p for top in ("n6convert", "plugins", "tests", "benchmarks", "docs") for p in (root / top).rglob("*.py")]
    old = {f"n6convert.{name}" for name in MOVED}
    found = [f"{path.relative_to(root)}: {name}" for path in files for name in _imported(path) if name in old]
    assert files and not found


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
