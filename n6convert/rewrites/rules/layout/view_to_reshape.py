"""Squeeze, Unsqueeze, Flatten and Reshape with 0 or -1 are one thing: ``Reshape(x, shape of the result)``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ViewToReshape"]


class ViewToReshape(Rewrite[ir.Node]):
    """Write every change of shape as a Reshape to constants."""

    name = "view-to-reshape"
    roots = frozenset({"Squeeze", "Unsqueeze", "Flatten", "Reshape"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> ir.Node | None:
        to = shape_of(node.outputs[0])
        if to is None or shape_of(node.inputs[0]) is None or 0 in to:
            return None
        if node.op_type == "Reshape":
            written = constant_of(node.inputs[1])
            if written is not None and np.array_equal(written, to) and not attribute(node, "allowzero"):
                return None
        return node

    def replace(self, found: ir.Node, build: Builder, context: Context) -> Sequence[ir.Value]:
        x = found.inputs[0]
        assert x is not None
        to = shape_of(found.outputs[0]) or ()
        return [build.node("Reshape", [x, build.constant(list(to), np.int64)], [to])[0]]
