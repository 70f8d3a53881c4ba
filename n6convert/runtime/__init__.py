"""Running graphs and comparing what they give; threads and child processes."""

from importlib import import_module
from typing import Any

_HOMES = ("session", "comparison")


def __getattr__(name: str) -> Any:
    """The names of both, as they stood in one module until n6convert 0.1."""
    modules = () if name.startswith("_") else (import_module(f"n6convert.runtime.{home}") for home in _HOMES)
    for module in modules:
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module 'n6convert.runtime' has no attribute {name!r}")
