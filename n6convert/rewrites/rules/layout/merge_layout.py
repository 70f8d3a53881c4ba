"""A chain of Reshape and Transpose is one permutation of blocks (see :mod:`n6convert.graph.layout`).

Chains that undo each other vanish, chains that only move axes of length 1 become a Reshape, and every other chain gets
at most one Transpose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.layout import Layout, chain_cost, layout_chain, layout_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["MergeLayout"]


@dataclass
class _Chain:
    source: ir.Value
    result: ir.Value
    layout: Layout


class MergeLayout(Rewrite[_Chain]):
    """Merge chains of Reshape and Transpose."""

    name = "merge-layout"
    roots = frozenset({"Reshape", "Transpose"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Chain | None:
        _, nodes = layout_chain(node.outputs[0])
        for start in range(len(nodes)):
            layout = layout_of(nodes[start:])
            source = nodes[start].inputs[0]
            if layout is not None and source is not None and layout.cost < chain_cost(nodes[start:]) - 1e-6:
                return _Chain(source, node.outputs[0], layout)
        return None

    def replace(self, found: _Chain, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [found.layout.build(build, found.source, instead_of=found.result)]
