"""A recurrent cell of T steps is T times its step: ``h_t = f(W x_t + R h_(t-1) + b)``, written out.

LSTM, GRU and RNN are not for the NPU ([#onnx-operators]). ``W x + b`` of all steps is one 1x1 Conv over the sequence;
a step is a 1x1 Conv of the state, sums, products and tables of Sigmoid and Tanh. All steps read one set of weights. A
state that is no input is zero, and the first step then needs no product at all. GRU: ``(1 - z) n + z h = n + z (h -
n)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.recurrent import GATES, Cell, read_cell
from n6convert.graph.query import shape_of
from n6convert.rewrites.recurrent_steps import Pass, moved, pass_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["UnrollRecurrent"]


class UnrollRecurrent(Rewrite[Cell]):
    """Write LSTM, GRU and RNN of a fixed number of steps as convolutions, products and tables."""

    name = "unroll-recurrent"
    roots = frozenset(GATES)
    housekeeping = True

    def pattern(self, node: ir.Node) -> Cell | None:
        return read_cell(node)

    def check(self, found: Cell, context: Context) -> str | None:
        return found.against(context.recurrent_steps)

    def replace(self, found: Cell, build: Builder, context: Context) -> Sequence[ir.Value]:
        passes = [pass_of(build, found, index) for index in range(len(found.directions))]
        for one in passes:
            one.run()
        outputs = zip(found.node.outputs, (_all_states, _last_states, _last_cells), strict=False)
        return [make(build, found, passes) if v.uses() or v.is_graph_output() else found.x for v, make in outputs]


def _all_states(build: Builder, cell: Cell, passes: Sequence[Pass]) -> ir.Value:
    """Y: [T, D, B, H]."""
    in_time = [one.states[::-1] if one.direction.reverse else one.states for one in passes]
    return _joined(build, cell, [h for step in zip(*in_time, strict=True) for h in step], cell.node.outputs[0])


def _last_states(build: Builder, cell: Cell, passes: Sequence[Pass]) -> ir.Value:
    """Y_h: [D, B, H]."""
    return _joined(build, cell, [one.states[-1] for one in passes], cell.node.outputs[1])


def _last_cells(build: Builder, cell: Cell, passes: Sequence[Pass]) -> ir.Value:
    """Y_c: [D, B, H]."""
    return _joined(build, cell, [one.c for one in passes], cell.node.outputs[2])


def _joined(build: Builder, cell: Cell, states: Sequence[Any], like: ir.Value) -> ir.Value:
    rows = [moved(build, h, cell.width, [1, cell.batch, cell.width]) for h in states]
    return build.reshape(build.concat(rows, axis=1), shape_of(like) or ())
