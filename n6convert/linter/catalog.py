"""Every limit: the modules that hold them are listed here."""

from __future__ import annotations

from importlib import import_module

from n6convert.linter.finding import Limit, registered

__all__ = ["limits", "limits_of_structure"]

_MODULES = ("rules_camera", "rules_interface", "rules_operators", "rules_quantization", "rules_scales", "rules_tensors")
#: of operators, shapes and types, which no choice of grids changes
_STRUCTURE = frozenset(f"n6convert.linter.{name}" for name in ("rules_operators", "rules_tensors"))


def limits() -> dict[str, Limit]:
    """All limits by name, for ``lint``, the manual and ``explain``."""
    for module in _MODULES:
        import_module(f"n6convert.linter.{module}")
    return registered()


def limits_of_structure() -> list[Limit]:
    """Those that a network breaks or keeps whatever its grids and values are."""
    return [limit for limit in limits().values() if limit.check.__module__ in _STRUCTURE]
