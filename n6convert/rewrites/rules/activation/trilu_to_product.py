"""Trilu keeps one triangle of a matrix: a product with a constant of ones and zeros, ``Trilu(x) = x * m``. Exact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["TriluToProduct"]


@dataclass
class _Triangle:
    x: ir.Value
    mask: Array


class TriluToProduct(Rewrite[_Triangle]):
    """Write Trilu as a product with a constant mask."""

    name = "trilu-to-product"
    roots = frozenset({"Trilu"})

    def pattern(self, node: ir.Node) -> _Triangle | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        given = node.inputs[1] if len(node.inputs) > 1 else None
        shift = constant_of(given) if given is not None else np.zeros(())
        if x is None or full is None or shift is None or not is_float(x):
            return None
        keep = np.triu if attribute(node, "upper", 1) else np.tril
        return _Triangle(x, keep(np.ones(full[-2:]), int(shift.reshape(-1)[0])))

    def replace(self, found: _Triangle, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [build.mul(found.x, found.mask)]
