"""Writing rewrite rules that only one family needs: what :meth:`~n6convert.plugin.ModelPlugin.rewrites` returns."""

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, producer, shape_of, single_use, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = [
    "Builder",
    "Context",
    "Rewrite",
    "attribute",
    "constant_of",
    "producer",
    "shape_of",
    "single_use",
    "users",
]
