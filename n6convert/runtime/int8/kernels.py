"""INT8 QDQ graphs in the form that onnxruntime computes in integers, alike on every CPU.

Left to itself, onnxruntime decides by CPU, by neighbors and by who else reads a tensor how a quantized operator runs:
with signed weights whose products saturate at 16 bits (x86 without VNNI), in float32 whose sums depend on the
instruction set, or by an approximation (Softmax). Here every product becomes one integer operator on unsigned codes,
whose sums are exact on all of them, and every mean sums whole numbers. What is left stays in float32 between its pairs,
value by value. Where this CPU is seen to sum products with signed weights exactly, these are taken: the same sums, in
less than half the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.copying import copied, drop_unused
from n6convert.runtime.int8.exactness import signed_weights_are_exact
from n6convert.runtime.int8.moves import move_codes
from n6convert.runtime.int8.operands import UINT8, Operand, dtype, make_unsigned, numbers, products, store
from n6convert.runtime.int8.whole_numbers import WHOLE_NUMBERS

__all__ = ["is_quantized", "with_integer_kernels"]

_CONTRIB = "com.microsoft"


def is_quantized(model: ir.Model) -> bool:
    """Whether any tensor of the graph stands for codes."""
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph)


def with_integer_kernels(model: ir.Model, *, in_place: bool = False) -> ir.Model:
    """A QDQ graph with integer operators in place of its pairs; inputs and outputs are as before.

    Args:
        in_place: the model itself instead of a copy.
    """
    copy = model if in_place else copied(model)
    graph = copy.graph
    make_unsigned(graph)
    move_codes(graph)
    for node in list(graph):
        quantize = _quantizer(node)
        if quantize is not None and node.op_type in WHOLE_NUMBERS:
            WHOLE_NUMBERS[node.op_type](graph, node, quantize)
        elif node.op_type in _PRODUCTS and not node.domain:
            _integer(graph, node, quantize)
    drop_unused(graph)
    graph.opset_imports.setdefault(_CONTRIB, 1)
    return copy


def _quantizer(node: ir.Node) -> ir.Node | None:
    """The quantizer to uint8 on one grid that alone reads a node's output."""
    if node.domain or len(node.outputs) != 1 or node.outputs[0].is_graph_output() or len(node.outputs[0].uses()) != 1:
        return None
    user = next(iter(node.outputs[0].consumers()))
    single = user.op_type == "QuantizeLinear" and dtype(user.inputs, 2) == UINT8
    return user if single and user.inputs[0] is node.outputs[0] and numbers(user.inputs[1]).size == 1 else None


def _integer(graph: ir.Graph, node: ir.Node, quantize: ir.Node | None) -> None:
    """Put an integer operator in place of a product and the quantizer behind it, where all operands are integers."""
    fits, make = _PRODUCTS[node.op_type]
    operands = [Operand.behind(graph, v) for v in node.inputs]
    known = [o for o in operands if o is not None]
    if len(known) < len(operands) or not fits(node, known):
        return
    if quantize is None:
        _sums(graph, node, known)
        return
    if len(known) > 1 and signed_weights_are_exact():
        known[1] = known[1].signed()
    made = make(node, known, quantize)
    graph.insert_before(quantize, made)
    _take_over(quantize.outputs[0], made.outputs[0])
    graph.remove([quantize, node], safe=True)


def _take_over(old: ir.Value, new: ir.Value) -> None:
    new.type, new.shape = old.type, old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name, old.name = old.name, None


def _multiplies(x: Operand, w: Operand, axis: int, bias: Sequence[Operand]) -> bool:
    """Whether the kernels take these operands; ``axis`` is that of the weight's channels."""
    return x.is_activation() and w.is_weight(axis) and all(b.is_bias(products(x, w)) for b in bias)


def _fits_conv(node: ir.Node, operands: Sequence[Operand]) -> bool:
    x, w, *bias = operands
    return _multiplies(x, w, 0, bias)


def _fits_gemm(node: ir.Node, operands: Sequence[Operand]) -> bool:
    x, w, *bias = operands
    plain = all(node.attributes.get_float(name, 1.0) == 1 for name in ("alpha", "beta"))
    flat = all(b.codes.shape is not None and len(b.codes.shape) == 1 for b in bias)
    return plain and flat and _multiplies(x, w, 0 if node.attributes.get_int("transB", 0) else 1, bias)


def _fits_matmul(node: ir.Node, operands: Sequence[Operand]) -> bool:
    ranks = [len(o.codes.shape or ()) for o in operands]
    return min(ranks) > 1 and _multiplies(operands[0], operands[1], ranks[1] - 1, [])


def _conv(node: ir.Node, operands: Sequence[Operand], quantize: ir.Node) -> ir.Node:
    x, w, *bias = operands
    inputs = [*x.inputs, *w.inputs, *quantize.inputs[1:3], *(b.codes for b in bias)]
    return ir.Node("", "QLinearConv", inputs, list(node.attributes.values()), name=node.name)


def _gemm(node: ir.Node, operands: Sequence[Operand], quantize: ir.Node) -> ir.Node:
    x, w, *bias = operands
    codes: list[ir.Value | None] = [b.codes for b in bias] or [None]
    turned = [a for a in node.attributes.values() if a.name in ("transA", "transB")]
    return ir.Node(_CONTRIB, "QGemm", [*x.inputs, *w.inputs, *codes, *quantize.inputs[1:3]], turned, name=node.name)


def _matmul(node: ir.Node, operands: Sequence[Operand], quantize: ir.Node) -> ir.Node:
    a, b = operands
    return ir.Node("", "QLinearMatMul", [*a.inputs, *_by_matrix(b), *quantize.inputs[1:3]], name=node.name)


def _by_matrix(weight: Operand) -> list[ir.Value | None]:
    """Codes, scales and zero points, these for every matrix of a stack, as the kernel wants them."""
    shape, graph = [n for n in weight.codes.shape or () if isinstance(n, int)], weight.codes.graph
    if weight.axis is None or len(shape) < 3 or graph is None:
        return weight.inputs
    to = (*shape[:-2], 1, shape[-1])
    spread = [np.broadcast_to(numbers(v), to).copy() for v in weight.inputs[1:]]
    names = [f"{weight.codes.name}_{what}_by_matrix" for what in ("scale", "zero")]
    return [weight.codes, *(store(graph, n, a) for n, a in zip(names, spread, strict=True))]


_Fits = Callable[[ir.Node, Sequence[Operand]], bool]
_Make = Callable[[ir.Node, Sequence[Operand], ir.Node], ir.Node]
_PRODUCTS: dict[str, tuple[_Fits, _Make]] = {
    "Conv": (_fits_conv, _conv),
    "Gemm": (_fits_gemm, _gemm),
    "MatMul": (_fits_matmul, _matmul),
}


def _sums(graph: ir.Graph, node: ir.Node, operands: Sequence[Operand]) -> None:
    """The product in integers where its result is read as it is: exact sums, which are scaled last."""
    x, w, *bias = operands
    if node.op_type != "Conv" and signed_weights_are_exact():  # ConvInteger is slow with them
        w = w.signed()
    name, rank = node.outputs[0].name, len(node.outputs[0].shape or w.codes.shape or ())
    sides = [_turned(graph, x.codes, node, "transA"), _turned(graph, w.codes, node, "transB")]
    zero = store(graph, f"{name}_zero", numbers(w.zero_point).reshape(-1)[0])
    kept = list(node.attributes.values()) if node.op_type == "Conv" else []
    nodes = [*(n for _, n in sides if n is not None)]
    sums = ir.Node("", "ConvInteger" if kept or node.op_type == "Conv" else "MatMulInteger",
                   [*(v for v, _ in sides), x.zero_point, zero], kept, name=node.name)  # fmt: skip
    nodes.append(sums)
    shape = [1, -1, *[1] * (rank - 2)] if node.op_type == "Conv" else [-1]
    if bias:
        added = store(graph, f"{name}_added", numbers(bias[0].codes).reshape(shape))
        nodes.append(ir.node("Add", [sums.outputs[0], added]))
    nodes.append(ir.node("Cast", [nodes[-1].outputs[0]], {"to": ir.DataType.FLOAT}))
    steps = products(x, w).astype(np.float32)
    nodes.append(ir.node("Mul", [nodes[-1].outputs[0], store(graph, f"{name}_steps", steps.reshape(shape))]))
    for index, made in enumerate(nodes):
        made.outputs[0].name = f"{name}_part_{index}"
    graph.insert_before(node, nodes)
    _take_over(node.outputs[0], nodes[-1].outputs[0])
    graph.remove(node, safe=True)


def _turned(graph: ir.Graph, value: ir.Value, node: ir.Node, attribute: str) -> tuple[ir.Value, ir.Node | None]:
    """A Gemm's operand the way MatMul takes it, and the node that turns it."""
    if not node.attributes.get_int(attribute, 0):
        return value, None
    turn = ir.node("Transpose", [value], {"perm": [1, 0]})
    return turn.outputs[0], turn
