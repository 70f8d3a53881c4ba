"""Old import paths work for one minor version, and say so."""

from __future__ import annotations

import sys
import warnings
from importlib import import_module

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
