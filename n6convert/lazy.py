"""Packages whose names are imported when they are first used, so that importing the package costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from threading import RLock
from types import ModuleType
from typing import Any

__all__ = ["first_use", "late", "postpone"]


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


def postpone(name: str) -> None:
    """Load a module of another package only when something asks it for a name; one that is loaded stays.

    Args:
        name: full; its parent package is not imported.
    """
    parent, _, _ = name.rpartition(".")
    if name in sys.modules or parent in sys.modules:
        return
    where = PathFinder.find_spec(parent) if parent else None
    path = where.submodule_search_locations if where is not None else None
    spec = PathFinder.find_spec(name, path) if not parent or path else None
    if spec is not None and spec.loader is not None:
        module = module_from_spec(spec)
        module.__dict__.pop("__path__", None)  # whoever imports a submodule asks for it
        module.__class__ = _Postponed
        sys.modules[name] = module


class _Postponed(ModuleType):
    """Runs its code when it is asked for a name that it has not got yet.

    ``importlib.util.LazyLoader`` does so as soon as an import statement names the module.
    """

    def __getattr__(self, name: str) -> Any:
        with _LOADING:
            if type(self) is _Postponed:
                _run(self)
        return getattr(self, name)


class _Loading(ModuleType):
    """Runs its code now: other threads wait for names that it has not got yet."""

    def __getattr__(self, name: str) -> Any:
        with _LOADING:
            return ModuleType.__getattribute__(self, name)


_LOADING = RLock()


def _run(module: ModuleType) -> None:
    spec = module.__spec__
    assert spec is not None and spec.loader is not None
    if spec.submodule_search_locations is not None:
        module.__path__ = spec.submodule_search_locations
    module.__class__ = _Loading
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]  # the next import statement tries anew
        raise
    finally:
        module.__class__ = ModuleType
