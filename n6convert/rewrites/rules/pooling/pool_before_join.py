"""Parts of a map are pooled before they are joined: ``pool(f(concat(a, b))) = concat(pool(f(a)), pool(f(b)))``.

A convolution of many outputs leaves in parts ([#wide-layers]). Joined as maps they are copied value by value, and the
function and the pool behind wait for that copy; joined as means they are a few bytes, and functions run in the
epochs of the convolutions. Exact: pools and functions of one value keep channels apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.operators import GLOBAL_POOLS, UNARY
from n6convert.graph.query import attribute, constant_of, producer, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["PoolBeforeJoin"]


@dataclass(frozen=True)
class _Join:
    """What is joined, the functions behind in order, and the pool."""

    parts: tuple[ir.Value, ...]
    functions: tuple[ir.Node, ...]
    pool: ir.Node


class PoolBeforeJoin(Rewrite[_Join]):
    """Pool the parts of a map, which convolutions make, instead of the map that they are joined to."""

    name = "pool-before-join"
    roots = GLOBAL_POOLS
    late = True

    def pattern(self, node: ir.Node) -> _Join | None:
        functions: list[ir.Node] = []
        value = node.inputs[0]
        while value is not None and len(value.uses()) == 1 and not value.is_graph_output():
            maker = producer(value)
            if maker is None or not _is_function(maker):
                break
            functions.insert(0, maker)
            value = maker.inputs[0]
        join = producer(value, "Concat")
        if value is None or join is None or len(value.uses()) != 1 or value.is_graph_output():
            return None
        parts = [v for v in join.inputs if v is not None and producer(v, "Conv") is not None]
        alone = len(parts) == len(join.inputs) and all(len(v.uses()) == 1 and not v.is_graph_output() for v in parts)
        along = attribute(join, "axis", 0) in (1, 1 - len(shape_of(value) or ()))
        return _Join(tuple(parts), tuple(functions), node) if alone and along else None

    def replace(self, found: _Join, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [build.concat([_pooled(build, found, part) for part in found.parts], axis=1)]


def _is_function(node: ir.Node) -> bool:
    return node.op_type in UNARY and all(v is None or constant_of(v) is not None for v in node.inputs[1:])


def _pooled(build: Builder, found: _Join, x: ir.Value) -> ir.Value:
    for node in found.functions:
        attributes = {k: attribute(node, k) for k in node.attributes}
        bounds = [v if v is None else build.constant(constant_of(v)) for v in node.inputs[1:]]
        x = build.node(node.op_type, [x, *bounds], [shape_of(x) or ()], **attributes)[0]
    full = shape_of(x) or ()
    return build.node(found.pool.op_type, [x], [[*full[:2], *[1] * (len(full) - 2)]])[0]
