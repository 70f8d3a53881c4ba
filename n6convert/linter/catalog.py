"""Every limit: the modules that hold them are listed here."""

from __future__ import annotations

from importlib import import_module

from n6convert.linter.finding import Limit, registered

__all__ = ["limits"]

_MODULES = ("rules_camera", "rules_interface", "rules_operators", "rules_quantization", "rules_scales", "rules_tensors")


def limits() -> dict[str, Limit]:
    """All limits by name, for ``lint``, the manual and ``explain``."""
    for module in _MODULES:
        import_module(f"n6convert.linter.{module}")
    return registered()
