"""Slice, Split, Pad and reductions on more than four axes on at most four: axes that are left alone are one.

Tensors on the NPU have four axes, and five crash ST's import of core 4 ([#import-19]). Neighboring axes that the
operator does not touch are one for it, and axes of length 1 are none; the elementwise operators have a rule of their
own (:mod:`n6convert.rewrites.rules.layout.four_axes`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.operators import REDUCTIONS
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import attribute, constant_of, is_float, reduced_axes, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CutOnFourAxes"]

_MOST = 4


@dataclass
class _Wide:
    node: ir.Node
    x: ir.Value
    full: tuple[int, ...]
    touched: frozenset[int]
    """Axes that the operator works on."""

    @property
    def runs(self) -> list[list[int]]:
        """Neighboring axes that may be one, in order; those of length 1 are in none, unless they are touched."""
        single = self.node.op_type not in REDUCTIONS
        axes = [i for i, n in enumerate(self.full) if n > 1 or i in self.touched]

        def kind(axis: int) -> tuple[bool, int]:
            own = axis in self.touched
            return own, axis if own and single else sum(i < axis for i in self.touched if not own)

        return [list(run) for _, run in groupby(axes, key=kind)]

    def merged(self, shape: Sequence[int]) -> list[int]:
        """A shape of as many axes as the tensor has, as the runs see it."""
        return [1, *(math.prod(shape[i] for i in run) for run in self.runs)]

    def place(self, axis: int) -> int:
        """Where an axis that is touched lies among the runs."""
        return 1 + next(i for i, run in enumerate(self.runs) if axis in run)


class CutOnFourAxes(Rewrite[_Wide]):
    """Write Slice, Split, Pad and reductions on more than four axes as the same on four."""

    name = "cut-on-four-axes"
    roots = frozenset({"Slice", "Split", "Pad"}) | REDUCTIONS
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Wide | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        if x is None or full is None or len(full) <= _MOST or not is_float(x):
            return None
        if any(shape_of(v) is None for v in node.outputs):
            return None
        touched = _touched(node, len(full), full)
        return _Wide(node, x, full, frozenset(touched)) if touched else None

    def check(self, found: _Wide, context: Context) -> str | None:
        if len(found.runs) < _MOST:
            return None
        return f"{len(found.runs)} groups of axes are treated differently; the NPU has {_MOST - 1} besides the batch"

    def replace(self, found: _Wide, build: Builder, context: Context) -> Sequence[ir.Value]:
        x = build.reshape(found.x, found.merged(found.full))
        kept = [_with_axes(found, shape_of(v) or ()) for v in found.node.outputs]
        values = _written(found, build, x, [found.merged(shape) for shape in kept])
        return [build.reshape(v, shape_of(old) or ()) for v, old in zip(values, found.node.outputs, strict=True)]


def _touched(node: ir.Node, rank: int, full: Sequence[int]) -> list[int]:
    """The axes that the operator works on; empty where they are not known."""
    if node.op_type in ("Slice", "Split"):
        axis = axis_of(node)
        return [] if axis is None else [axis]
    if node.op_type == "Pad":
        pads = _pads(node, rank)
        return [i for i in range(rank) if pads is not None and (pads[i] or pads[rank + i])]
    return reduced_axes(node, rank) or []


def _pads(node: ir.Node, rank: int) -> list[int] | None:
    """Lengths before and behind every axis; None where they are not constant or are given for some axes only."""
    given = constant_of(node.inputs[1]) if len(node.inputs) > 1 else attribute(node, "pads")
    sizes = None if given is None else np.asarray(given).reshape(-1)
    return [int(n) for n in sizes] if sizes is not None and len(sizes) == 2 * rank else None


def _with_axes(found: _Wide, shape: Sequence[int]) -> list[int]:
    """Shape of an output with the axes that a reduction drops."""
    if found.node.op_type in REDUCTIONS:
        return [1 if i in found.touched else n for i, n in enumerate(found.full)]
    return list(shape)


def _written(found: _Wide, build: Builder, x: ir.Value, to: list[list[int]]) -> Sequence[ir.Value]:
    node, op = found.node, found.node.op_type
    places = list(dict.fromkeys(found.place(axis) for axis in sorted(found.touched)))
    if op == "Slice":
        start, stop, _, step = slice_bounds(node)
        bounds = [build.constant(given, np.int64) for given in (start, stop, places, step)]
        return build.node(op, [x, *bounds], to)
    if op == "Split":
        return build.split(x, [shape[places[0]] for shape in to], places[0])
    if op == "Pad":
        return build.node(op, [x, build.constant(_merged_pads(found), np.int64), *node.inputs[2:3]], to, **_mode(node))
    return [build.reduce(op, x, places)]


def _merged_pads(found: _Wide) -> list[int]:
    pads, rank, runs = _pads(found.node, len(found.full)) or [], len(found.full), found.runs
    sides = (pads[:rank], pads[rank:])
    return [n for side in sides for n in (0, *(side[run[0]] if run[0] in found.touched else 0 for run in runs))]


def _mode(node: ir.Node) -> dict[str, Any]:
    return {"mode": attribute(node, "mode", "constant")}
