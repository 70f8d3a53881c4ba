"""A Slice of several axes is one Slice after the other, each with its ends within the tensor.

Exporters write ends as INT_MAX or from the back, and name axes that are not cut; the NPU's rules ([#joins], [#import])
and all other rewrites look at one axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["SliceNormalForm"]


@dataclass
class _Cuts:
    x: ir.Value
    cuts: list[tuple[int, int, int, int]]
    """Axis, first, end and step of every axis that is cut."""


class SliceNormalForm(Rewrite[_Cuts]):
    """Write a Slice of several axes as Slices of one, with plain ends."""

    name = "slice-normal-form"
    roots = frozenset({"Slice"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Cuts | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        given = _given(node)
        if x is None or full is None or given is None:
            return None
        cuts = []
        for start, end, axis, step in zip(*given, strict=True):
            first, last, by = slice(int(start), int(end), int(step)).indices(full[int(axis)])
            if by < 1 or last <= first:
                return None
            if (first, last, by) != (0, full[int(axis)], 1):
                cuts.append((int(axis) % len(full), first, last, by))
        plain = len(cuts) == 1 and cuts[0] == tuple(int(g[0]) for g in (given[2], given[0], given[1], given[3]))
        return None if not cuts or (plain and len(given[0]) == 1) else _Cuts(x, cuts)

    def replace(self, found: _Cuts, build: Builder, context: Context) -> Sequence[ir.Value]:
        x = found.x
        for axis, first, end, step in found.cuts:
            x = build.slice(x, axis, first, end, step)
        return [x]


def _given(node: ir.Node) -> list[np.ndarray] | None:
    """Starts, ends, axes and steps as written; None when they are not constant."""
    if len(node.inputs) > 1:
        held = [constant_of(v) for v in node.inputs[1:]]
        if any(h is None for h, v in zip(held, node.inputs[1:], strict=True) if v is not None):
            return None
    else:
        held = [attribute(node, key) for key in ("starts", "ends", "axes")]
    size = len(held[0]) if held[0] is not None else 0
    defaults = [None, None, np.arange(size), np.ones(size, np.int64)]
    held += [None] * (4 - len(held))
    return [np.asarray(d if h is None else h) for h, d in zip(held, defaults, strict=True)]
