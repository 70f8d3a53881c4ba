"""Graph rewrites that keep operators on the NPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from n6convert.rewrites.config import RewriteConfig

if TYPE_CHECKING:
    from n6convert.rewrites.api import RewriteResult, rewrite
    from n6convert.rewrites.base import Context, Rewrite
    from n6convert.rewrites.build import Builder
    from n6convert.rewrites.catalog import COMBINATIONS, all_rules

__all__ = [
    "COMBINATIONS",
    "Builder",
    "Context",
    "Rewrite",
    "RewriteConfig",
    "RewriteResult",
    "all_rules",
    "rewrite",
]

_HOMES = {
    "RewriteResult": "api",
    "rewrite": "api",
    "Context": "base",
    "Rewrite": "base",
    "Builder": "build",
    "COMBINATIONS": "catalog",
    "all_rules": "catalog",
}


def __getattr__(name: str) -> Any:
    """Load on first use: recipes read this package's schema, which must not cost importing onnx."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
