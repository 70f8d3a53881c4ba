"""``ScatterND`` to a constant box of a tensor: what lies around the box and what is put there, joined.

``x[:, 2:5, ::] = y`` in Python is such an assignment. The NPU has no Scatter ([#onnx-operators]); along each axis that
the box does not fill, the result is the part before it, the part with the box and the part behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ScatterToConcat"]


@dataclass
class _Scatter:
    data: ir.Value
    updates: ir.Value
    box: list[tuple[int, int]] | None
    """First and last position + 1 along the leading axes."""
    plain: bool


class ScatterToConcat(Rewrite[_Scatter]):
    """Write an assignment to a slice as a Concat."""

    name = "scatter-to-concat"
    roots = frozenset({"ScatterND"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Scatter | None:
        data, indices, updates = node.inputs
        at, full = constant_of(indices), shape_of(data)
        if data is None or updates is None or at is None or full is None or not (is_float(data) and is_float(updates)):
            return None
        if shape_of(updates) is None:
            return None
        return _Scatter(data, updates, _box(at, full), attribute(node, "reduction", "none") in ("none", b"none"))

    def check(self, found: _Scatter, context: Context) -> str | None:
        if not found.plain:
            return "it adds to what is there"
        return None if found.box is not None else "the positions that it writes to are no box"

    def replace(self, found: _Scatter, build: Builder, context: Context) -> Sequence[ir.Value]:
        box, full = found.box or [], shape_of(found.data) or ()
        part = [stop - start for start, stop in box] + list(full[len(box) :])
        inside = build.reshape(found.updates, part)
        cuts = [(axis, start, stop) for axis, (start, stop) in enumerate(box) if stop - start < full[axis]]
        return [_put(build, found.data, inside, cuts) if cuts else build.unary("Identity", inside)]


def _put(build: Builder, data: ir.Value, inside: ir.Value, cuts: Sequence[tuple[int, int, int]]) -> ir.Value:
    """The data with the box in it."""
    if not cuts:
        return inside
    (axis, start, stop), *rest = cuts
    size = (shape_of(data) or ())[axis]
    around = [(0, start), (stop, size)]
    before, behind = ([_part(build, data, axis, a, b)] if a < b else [] for a, b in around)
    middle = _put(build, _part(build, data, axis, start, stop), inside, rest) if rest else inside
    return build.concat([*before, middle, *behind], axis)


def _part(build: Builder, data: ir.Value, axis: int, start: int, stop: int) -> ir.Value:
    known = constant_of(data)
    if known is not None:
        return build.constant(known.take(range(start, stop), axis=axis))
    return build.slice(data, axis, start, stop)


def _box(at: NDArray[np.int64], full: Sequence[int]) -> list[tuple[int, int]] | None:
    """Ranges along the leading axes whose positions, in order, are the given ones; None for other positions."""
    rows = at.reshape(-1, at.shape[-1])
    if not rows.size:
        return None
    rows = np.where(rows < 0, rows + np.array(full[: rows.shape[1]]), rows)
    low, high = rows.min(axis=0), rows.max(axis=0) + 1
    grid = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(low, high, strict=True)), indexing="ij"), axis=-1)
    same = np.array_equal(grid.reshape(-1, rows.shape[1]), rows)
    return [(int(a), int(b)) for a, b in zip(low, high, strict=True)] if same else None
