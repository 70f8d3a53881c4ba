"""Sums, products, activations and normalizations (SPEC b.3, c.3)."""

from __future__ import annotations

from n6convert.npu.graph import Node
from n6convert.npu.ir import Units, Where
from n6convert.npu.lowering.core import Lowerer, lowers

__all__: list[str] = []

_LAYER_NORM = (
    *("GlobalAveragePool", "Sub", "Mul", "GlobalAveragePool", "Add", "Sqrt", "Reciprocal", "Mul", "Mul", "Add"),
)
"""What core 4 expands LayerNormalization to (SPEC c.3)."""

_ACTIV = (
    *("Swish", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "ThresholdedRelu", "Relu", "Clip", "PRelu"),
    *("Exp", "Erf", "Sqrt", "Neg", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh"),
    *("Tan", "Abs", "Pow"),
)


@lowers(*_ACTIV)
def _activation(lowerer: Lowerer, node: Node) -> None:
    lowerer.emit(node.op, node, lowerer.decide(node), node.inputs, node.outputs, units=Units(activ=1))


@lowers("Add", "Sub", "Sum", "Div")
def _sum(lowerer: Lowerer, node: Node) -> None:
    kind = "Add" if node.op == "Sum" else node.op
    rule = lowerer.decide(node)
    count = max(1, len(node.inputs) - 1)
    lowerer.emit(kind, node, rule, node.inputs, node.outputs, units=Units(arith=min(4, count)))


@lowers("Mul")
def _mul(lowerer: Lowerer, node: Node) -> None:
    """(a - za)(b - zb) = ab - zb*a - za*b: one Mul and, for two different operands, two Adds (SEEN r02, r15)."""
    rule = lowerer.decide(node)
    result = node.outputs[0]
    square = len(set(node.inputs)) == 1
    if rule.name != "both-operands-repeat":
        lowerer.emit("Mul", node, rule, node.inputs, [result], units=Units(arith=2 if square else 3))
        return
    wide = lowerer.fresh(result, "s16", dtype="int16")
    lowerer.emit("Mul", node, rule, node.inputs, [wide])
    lowerer.emit("Add", node, lowerer.pick("Copy", node), [wide, *node.inputs], [result], units=Units(arith=2))


@lowers("QuantizeLinear")
def _quantize(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    if rule.where is Where.HW:
        lowerer.emit("Add", node, rule, node.inputs[:1], node.outputs, units=Units(arith=1))
        return
    source = node.inputs[0]
    lowerer.emit("QuantizeLinear", node, rule, [lowerer.floats.get(source, source)], node.outputs)


@lowers("DequantizeLinear")
def _dequantize(lowerer: Lowerer, node: Node) -> None:
    lowerer.emit("DequantizeLinear", node, lowerer.decide(node), node.inputs[:1], node.outputs)


@lowers("BatchNormalization")
def _batch_normalization(lowerer: Lowerer, node: Node) -> None:
    """A BatchNormalization that could not be folded is a Mul and an Add (SEEN r07)."""
    rule = lowerer.decide(node)
    source, result = node.inputs[0], node.outputs[0]
    scaled = lowerer.fresh(result, "scaled", dtype="float32" if rule.float else None)
    lowerer.emit("Mul", node, rule, [source, *node.inputs[1:2]], [scaled], units=Units(arith=1))
    lowerer.emit("Add", node, rule, [scaled, *node.inputs[2:3]], [result], units=Units(arith=1))


@lowers("LayerNormalization")
def _layer_normalization(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    source, result = node.inputs[0], node.outputs[0]
    if lowerer.version < (4, 0):
        lowerer.emit("LayerNormalization", node, rule, node.inputs, [result])
        return
    shape = lowerer.shape(source)
    small = (*shape[:-1], 1)
    x = source
    for step, kind in enumerate(_LAYER_NORM):
        reduced = 3 <= step <= 6 or step == 0
        y = result if step == len(_LAYER_NORM) - 1 else lowerer.fresh(
            result, "norm", small if reduced else shape, dtype="float32"
        )
        lowerer.emit(kind, node, rule, [x], [y])
        x = y
