"""``s * (X @ Y) = (s * X) @ Y``: a scalar moves to the smaller side, where a Linear's weights absorb it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import constant_of, inverse_of, operand, producer, scalar_of, shape_of, single_use
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ScalarBeforeMatMul"]


@dataclass
class _Scaled:
    matmul: ir.Node
    scale: float


class ScalarBeforeMatMul(Rewrite[_Scaled]):
    """Move a scalar factor from the result of a MatMul of activations to its first operand."""

    name = "scalar-before-matmul"
    roots = frozenset({"Mul", "Div"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Scaled | None:
        pair = operand(node, constant=True)
        number = None if pair is None else scalar_of(pair[1])
        if pair is None or number is None or shape_of(pair[0]) != shape_of(node.outputs[0]):
            return None
        if node.op_type == "Div" and pair[0] is not node.inputs[0]:
            return None
        factor = np.asarray(number, np.float32) if node.op_type == "Mul" else inverse_of(np.asarray(number, np.float32))
        matmul = producer(pair[0], "MatMul")
        if matmul is None or factor is None or constant_of(matmul.inputs[1]) is not None or not single_use(pair[0]):
            return None
        return _Scaled(matmul, float(factor))

    def replace(self, found: _Scaled, build: Builder, context: Context) -> Sequence[ir.Value]:
        x, y = found.matmul.inputs
        assert x is not None
        return build.node("MatMul", [build.mul(x, found.scale), y], [shape_of(found.matmul.outputs[0]) or ()])
