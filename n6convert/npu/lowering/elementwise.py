"""Sums, products, activations and normalizations ([#broadcasting], [#layernorm])."""

from __future__ import annotations

from n6convert.graph.operators import PRODUCTS
from n6convert.npu.graph import Node
from n6convert.npu.ir import Units, Where
from n6convert.npu.lowering.core import Lowerer, lowers
from n6convert.npu.rules import Rule
from n6convert.npu.rules.limits import EPOCH_UNITS, SOFTMAX_EPOCHS
from n6convert.operators.versions import has

__all__: list[str] = []


_LAYER_NORM: tuple[tuple[str, tuple[int, ...], bool], ...] = (
    ("GlobalAveragePool", (0,), True),
    ("Sub", (0, 1), False),
    ("Mul", (2, 2), False),
    ("GlobalAveragePool", (3,), True),
    ("Add", (4,), True),
    ("Sqrt", (5,), True),
    ("Reciprocal", (6,), True),
    ("Mul", (2, 7), False),
    ("Mul", (8,), False),
    ("Add", (9,), False),
)
"""What core 4 expands LayerNormalization to: operator, operands (0 = input, n = result of line n), one value per row
([#layernorm])."""

_ACTIV = (
    *("Swish", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "LeakyRelu", "ThresholdedRelu", "Relu", "Clip"),
    *("Exp", "Erf", "Sqrt", "Neg", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Cos", "Cosh", "Sin", "Sinh"),
    *("Tan", "Abs", "Pow"),
)


@lowers(*_ACTIV)
def _activation(lowerer: Lowerer, node: Node) -> None:
    lowerer.emit(node.op, node, lowerer.decide(node), node.inputs, node.outputs, units=Units(activ=1))


@lowers("PRelu")
def _prelu(lowerer: Lowerer, node: Node) -> None:
    """Relu(x) + a * min(x, 0): Clip, Mul and a sum for its zero points; then, as x branches, another epoch for Relu and
    the sum of both. Behind a convolution the first sum is left to the second epoch (SEEN r27: 41 of 46)."""
    rule = lowerer.decide(node)
    source, result = node.inputs[0], node.outputs[0]
    if rule.where is not Where.HW:
        lowerer.emit("PRelu", node, rule, node.inputs, [result])
        return
    writer = lowerer.writers.get(source)
    behind_conv = writer is not None and writer.op in PRODUCTS
    negative, scaled = lowerer.fresh(source, "negative"), lowerer.fresh(result, "scaled", dtype="int16")
    moved, positive = lowerer.fresh(result, "moved"), lowerer.fresh(result, "positive")
    arith = Units(arith=1)
    lowerer.emit("Clip", node, rule, [source], [negative], units=Units(activ=1))
    lowerer.emit("Mul", node, rule, [negative, *node.inputs[1:]], [scaled], units=arith)
    lowerer.emit("Add", node, rule, [scaled], [moved], units=arith, waits=scaled if behind_conv else None)
    held = scaled if behind_conv else moved
    lowerer.emit("Relu", node, rule, [source], [positive], units=Units(activ=1), waits=held)
    lowerer.emit("Add", node, rule, [positive, moved], [result], units=arith, joins=True)


@lowers("Add", "Sub", "Sum", "Div")
def _sum(lowerer: Lowerer, node: Node) -> None:
    kind = "Add" if node.op == "Sum" else node.op
    rule = lowerer.decide(node)
    count = max(1, len(node.inputs) - 1)
    branches = any(reader.op == "PRelu" for reader in lowerer.readers.get(node.outputs[0], ()))
    lowerer.emit(kind, node, rule, node.inputs, node.outputs, units=Units(arith=min(4, count)), apart=branches)


@lowers("Mul")
def _mul(lowerer: Lowerer, node: Node) -> None:
    """(a - za)(b - zb) = ab - zb*a - za*b: one Mul, and an Add for each zero point that is not 0."""
    rule = lowerer.decide(node)
    result = node.outputs[0]
    square = len(set(node.inputs)) == 1
    if rule.name != "both-operands-repeat":
        if not _corrected_apart(lowerer, node) or square or rule.where is not Where.HW:
            lowerer.emit("Mul", node, rule, node.inputs, [result], units=Units(arith=1 + _corrections(lowerer, node)))
        else:
            _product_and_correction(lowerer, node, rule)
        return
    wide = lowerer.fresh(result, "s16", dtype="int16")
    lowerer.emit("Mul", node, rule, node.inputs, [wide])
    lowerer.emit("Add", node, lowerer.pick("Copy", node), [wide, *node.inputs], [result], units=Units(arith=2))


def _corrections(lowerer: Lowerer, node: Node) -> int:
    """ARITH nodes behind a product: one for each factor's zero point that is not 0, or one for the result's
    ([#product-units])."""
    off = [lowerer.tensors[name].zero_point not in (None, 0) for name in (*dict.fromkeys(node.inputs), node.outputs[0])]
    return max(sum(off[:-1]), off[-1])


def _corrected_apart(lowerer: Lowerer, node: Node) -> bool:
    """x * Sigmoid(x) where it is no Swish: the correction for the zero point of x is an epoch of its own.

    SEEN r31 56 of 56 (2.0); the published memory of EfficientNetV2-B2 on 3.0 (2,712 KiB) agrees.
    """
    if has(lowerer.version, "keras_swish") or len(node.inputs) != 2:
        return False
    return any(_gate(lowerer, *pair) for pair in (node.inputs, node.inputs[::-1]))


def _gate(lowerer: Lowerer, x: str, gate: str) -> bool:
    writer = lowerer.writers.get(gate)
    gates = writer is not None and writer.op == "Sigmoid" and writer.inputs[0] == x
    return gates and bool(lowerer.tensors[x].zero_point)


def _product_and_correction(lowerer: Lowerer, node: Node, rule: Rule) -> None:
    x, gate = node.inputs if _gate(lowerer, *node.inputs) else node.inputs[::-1]
    wide = lowerer.fresh(node.outputs[0], "product", dtype="int16")
    lowerer.emit("Mul", node, rule, [x, gate], [wide], units=Units(arith=2))
    lowerer.emit("Add", node, rule, [gate, wide], node.outputs, units=Units(arith=1), waits=wide)


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


@lowers("Softmax")
def _softmax(lowerer: Lowerer, node: Node) -> None:
    """One software operator, or, expanded by the compiler, operators that share their epochs with nothing."""
    rule = lowerer.decide(node)
    made = node.inputs[0]
    parts = SOFTMAX_EPOCHS if rule.where is Where.HW else 1
    for part in range(1, parts + 1):
        result = node.outputs[0] if part == parts else lowerer.fresh(node.outputs[0], "expanded")
        lowerer.emit("Softmax", node, rule, [made], [result], units=EPOCH_UNITS)
        made = result


@lowers("BatchNormalization")
def _batch_normalization(lowerer: Lowerer, node: Node) -> None:
    """A BatchNormalization that could not be folded: on a map one operator, behind a Reshape a Mul and an Add (SEEN
    r07; on a map once elsewhere)."""
    rule = lowerer.decide(node)
    source, result = node.inputs[0], node.outputs[0]
    if rule.float and len(lowerer.shape(source)) > 2:
        lowerer.emit("BatchNormalization", node, rule, node.inputs, [result])
        return
    scaled = lowerer.fresh(result, "scaled", dtype="float32" if rule.float else None)
    lowerer.emit("Mul", node, rule, [source, *node.inputs[1:2]], [scaled], units=Units(arith=1))
    lowerer.emit("Add", node, rule, [scaled, *node.inputs[2:3]], [result], units=Units(arith=1))


@lowers("LayerNormalization")
def _layer_normalization(lowerer: Lowerer, node: Node) -> None:
    rule = lowerer.decide(node)
    source, result = node.inputs[0], node.outputs[0]
    if not has(lowerer.version, "layer_norm_primitives"):
        lowerer.emit("LayerNormalization", node, rule, node.inputs, [result])
        return
    shape = lowerer.shape(source)
    made = [source]
    for kind, operands, reduced in _LAYER_NORM:
        last = len(made) == len(_LAYER_NORM)
        size = (*shape[:-1], 1) if reduced else shape
        made.append(result if last else lowerer.fresh(result, "norm", size, dtype="float32"))
        lowerer.emit(kind, node, rule, [made[i] for i in operands], [made[-1]])
