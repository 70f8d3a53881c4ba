"""Graph rewrites that keep operators on the NPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from n6convert.lazy import first_use
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

#: loaded on first use: recipes read this package's schema, which must not cost importing onnx
_HOMES = {
    "RewriteResult": "api",
    "rewrite": "api",
    "Context": "base",
    "Rewrite": "base",
    "Builder": "build",
    "COMBINATIONS": "catalog",
    "all_rules": "catalog",
}
__getattr__ = first_use(__name__, _HOMES)
