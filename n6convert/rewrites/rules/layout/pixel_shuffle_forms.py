"""Pixel shuffles that are spelled out as Reshape, Transpose, Reshape in the operator that other rules know::

    [1, c b b, h, w] -> [c, h, b, w, b] -> [1, c, h b, w b]   = DepthToSpace (CRD; DCR with the blocks first)
    [1, c, h b, w b] -> [b, b, c, h, w] -> [1, b b c, h, w]   = SpaceToDepth

and ``[c, b, b, h, w]``, PyTorch's order of the second, is SpaceToDepth with its channels put in order by a 1x1 Conv.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.layout import Layout, Step, ends_chain, layout_chain, layout_of, layout_of_steps
from n6convert.graph.query import shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["PixelShuffleForms"]


@dataclass
class _Shuffle:
    x: ir.Value
    form: str
    block: int
    result: tuple[int, ...]


class PixelShuffleForms(Rewrite[_Shuffle]):
    """Recognize DepthToSpace and SpaceToDepth that are spelled out."""

    name = "pixel-shuffle-forms"
    roots = frozenset({"Reshape"})

    def pattern(self, node: ir.Node) -> _Shuffle | None:
        result = shape_of(node.outputs[0])
        if result is None or len(result) != 4 or not ends_chain(node.outputs[0]):
            return None
        _, nodes = layout_chain(node.outputs[0])
        for start in range(len(nodes)):
            x = nodes[start].inputs[0]
            full, layout = shape_of(x), layout_of(nodes[start:])
            if x is None or full is None or len(full) != 4 or full[0] != 1 or layout is None or len(layout.blocks) < 3:
                continue
            for form, block, wanted in _candidates(full, result):
                if layout == wanted:
                    return _Shuffle(x, form, block, result)
        return None

    def replace(self, found: _Shuffle, build: Builder, context: Context) -> Sequence[ir.Value]:
        if found.form in ("DCR", "CRD"):
            kept = {"blocksize": found.block, "mode": found.form}
            return build.node("DepthToSpace", [found.x], [found.result], **kept)
        y = build.node("SpaceToDepth", [found.x], [found.result], blocksize=found.block)[0]
        if found.form == "blocks first":
            return [y]
        order = np.arange(found.result[1]).reshape(found.block**2, -1).T.ravel()
        return [build.pointwise(y, np.eye(found.result[1], dtype=np.float32)[order])]


def _candidates(full: Sequence[int], result: Sequence[int]) -> Iterator[tuple[str, int, Layout | None]]:
    """Name, block size and layout of every shuffle between two shapes."""
    larger, smaller = (result, full) if result[2] > full[2] else (full, result)
    b = larger[2] // smaller[2]
    if b < 2 or (larger[2], larger[3]) != (smaller[2] * b, smaller[3] * b) or smaller[1] != larger[1] * b * b:
        return
    c, h, w = larger[1], smaller[2], smaller[3]
    if result is larger:
        orders = {"CRD": ((c, b, b, h, w), (0, 3, 1, 4, 2)), "DCR": ((b, b, c, h, w), (2, 3, 0, 4, 1))}
    else:
        orders = {
            "blocks first": ((c, h, b, w, b), (2, 4, 0, 1, 3)),
            "channels first": ((c, h, b, w, b), (0, 2, 4, 1, 3)),
        }
    for form, (blocks, perm) in orders.items():
        moved = tuple(blocks[p] for p in perm)
        yield form, b, layout_of_steps(full, [Step(blocks), Step(moved, perm), Step(tuple(result))])
