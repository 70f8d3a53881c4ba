"""Graph rewrites that keep operators on the NPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from n6convert.lazy import first_use
from n6convert.recipe.rewrite import RewriteConfig

if TYPE_CHECKING:
    from n6convert.rewrites.catalog import COMBINATIONS, all_rules
    from n6convert.rewrites.rule import Context, Rewrite
    from n6convert.rewrites.select import RewriteResult, rewrite

__all__ = [
    "COMBINATIONS",
    "Context",
    "Rewrite",
    "RewriteConfig",
    "RewriteResult",
    "all_rules",
    "rewrite",
]

#: loaded on first use: recipes read this package's schema, which must not cost importing onnx
_HOMES = {
    "RewriteResult": "select",
    "rewrite": "select",
    "Context": "rule",
    "Rewrite": "rule",
    "COMBINATIONS": "catalog",
    "all_rules": "catalog",
}
_load = first_use(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    if name == "Builder":  # until 0.2
        from warnings import warn

        from n6convert.graph.builder import Builder

        warn("n6convert.rewrites.Builder is n6convert.plugin.graphs.Builder", DeprecationWarning, stacklevel=2)
        return Builder
    return _load(name)
