"""Expand in front of an elementwise operator is that operator's own broadcast; elsewhere it is a product with ones.

``Expand`` is not in the NPU's table ([#onnx-operators]); one-sided broadcasts of Add, Sub and Mul are hardware
([#broadcasting]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.operators import ARITHMETIC
from n6convert.graph.query import constant_of, is_float, shape_of, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ExpandToBroadcast"]

_BROADCASTING = ARITHMETIC | {"Max", "Min", "Pow", "Where"}


@dataclass
class _Expand:
    x: ir.Value
    result: tuple[int, ...]
    needed: bool
    """Whether somebody needs the repeated tensor itself."""


class ExpandToBroadcast(Rewrite[_Expand]):
    """Leave Expand to the elementwise operator behind it, or write it as a product with ones."""

    name = "expand-to-broadcast"
    roots = frozenset({"Expand"})

    def pattern(self, node: ir.Node) -> _Expand | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if x is None or full is None or result is None or constant_of(x) is not None or full == result:
            return None
        value = node.outputs[0]
        free = not value.is_graph_output() and all(_repeats(n, value, full) for n in users(value))
        return _Expand(x, result, not free) if free or is_float(x) else None

    def replace(self, found: _Expand, build: Builder, context: Context) -> Sequence[ir.Value]:
        if not found.needed:
            return [found.x]
        rank = len(found.result)
        small = build.reshape(found.x, [*[1] * (rank - len(shape_of(found.x) or ())), *(shape_of(found.x) or ())])
        return [build.mul(build.constant(np.ones(found.result, np.float32)), small)]


def _repeats(reader: ir.Node, value: ir.Value, small: Sequence[int]) -> bool:
    """True when an elementwise operator gives the same without the Expand."""
    if reader.op_type not in _BROADCASTING:
        return False
    others = [small if v is value else shape_of(v) for v in reader.inputs]
    known = [tuple(s) for s in others if s is not None]
    return len(known) == len(others) and np.broadcast_shapes(*known) == shape_of(reader.outputs[0])
