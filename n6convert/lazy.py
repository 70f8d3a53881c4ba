"""Packages whose names are imported when they are first used, so that importing the package costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["first_use", "late"]


def first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """A ``__getattr__`` for a package: ``homes`` names the submodule that each name comes from."""

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{homes[name]}"), name)

    return load


def late(function: str) -> Callable[..., Any]:
    """A function by its full name, loaded when it is called: results draw themselves by what knows their types."""
    module, _, name = function.rpartition(".")

    def call(*values: Any) -> Any:
        return getattr(import_module(module), name)(*values)

    return call
