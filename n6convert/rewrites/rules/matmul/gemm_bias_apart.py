"""``Gemm(A, B, C) = Gemm(A, B) + beta C`` where C is computed: recurrent cells add the input's part so.

An activation as Gemm's third input crashes ST's import ([#import-2]).
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["GemmBiasApart"]


class GemmBiasApart(Rewrite[ir.Node]):
    """Write Gemm with a computed third input as Gemm and Add."""

    name = "gemm-bias-apart"
    roots = frozenset({"Gemm"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> ir.Node | None:
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        known = bias is None or constant_of(bias) is not None or shape_of(bias) is None
        return None if known or not is_float(bias) or shape_of(node.outputs[0]) is None else node

    def replace(self, found: ir.Node, build: Builder, context: Context) -> Sequence[ir.Value]:
        kept = {k: attribute(found, k) for k in found.attributes if k != "beta"}
        product = build.node("Gemm", found.inputs[:2], [shape_of(found.outputs[0]) or ()], **kept)[0]
        bias, beta = found.inputs[2], attribute(found, "beta", 1.0)
        assert bias is not None
        return [build.add(product, bias if beta == 1.0 else build.mul(bias, beta))]
