"""Means and transposed convolutions that add whole numbers, which float32 holds exactly in any order.

Both are linear: in steps of their inputs they give the same in steps of the products, and the quantizer behind them
gets the quotient of the scales.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from n6convert.runtime.int8.operands import OFFSET, Operand, numbers, products, store

__all__ = ["WHOLE_NUMBERS"]

#: whole numbers up to this are exact in float32
_EXACT = 1 << 24


def _mean(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> None:
    """Let a mean or a sum read steps of its input."""
    read = Operand.behind(graph, node.inputs[0])
    if read is None or not read.is_activation() or _summed(node) > _EXACT / (2 * OFFSET):
        return
    _read_integers(graph, node, 0, read)
    quotient = numbers(quantize.inputs[1]) / numbers(read.scale)
    quantize.replace_input_with(1, store(graph, f"{node.outputs[0].name}_quotient", quotient))


def _conv_transpose(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> None:
    """Likewise, with one quotient per channel."""
    operands = [Operand.behind(graph, v) for v in node.inputs]
    known = [o for o in operands if o is not None]
    if len(known) < len(operands) or not (known[0].is_activation() and known[1].is_weight(1)):
        return
    x, w, *bias = known
    groups = node.attributes.get_int("group", 1)
    weights = np.abs(numbers(w.codes).astype(np.int64) - OFFSET)
    steps = np.tile(np.broadcast_to(products(x, w), weights.shape[1]), groups)
    sums = np.concatenate([part.sum(axis=(0, *range(2, part.ndim))) for part in np.split(weights, groups)])
    added = np.abs(numbers(bias[0].codes).astype(np.int64)) if bias else 0
    if (sums * 2 * OFFSET + added).max() > _EXACT or not all(b.is_bias(steps) for b in bias):
        return
    for index, operand in enumerate(known):
        _read_integers(graph, node, index, operand)
    quotients = (numbers(quantize.inputs[1]) / steps).astype(np.float32)
    for index, array in ((1, quotients), (2, np.full(quotients.shape, numbers(quantize.inputs[2])))):
        quantize.replace_input_with(index, store(graph, f"{node.outputs[0].name}_channels_{index}", array))
    quantize.attributes["axis"] = ir.AttrInt64("axis", 1)


def _read_integers(graph: ir.Graph, node: ir.Node, index: int, operand: Operand) -> None:
    """Let a node read what its operand counts instead of what that is worth."""
    name, old = f"{node.outputs[0].name}_integers_{index}", node.inputs[index]
    assert old is not None
    one = store(graph, f"{name}_step", np.ones(np.shape(numbers(operand.scale)), np.float32))
    axis = None if operand.axis is None else {"axis": operand.axis}
    integers = ir.node("DequantizeLinear", [operand.codes, one, operand.zero_point], axis, name=name)
    integers.outputs[0].name = name
    integers.outputs[0].type, integers.outputs[0].shape = old.type, old.shape
    graph.insert_before(node, integers)
    node.replace_input_with(index, integers.outputs[0])


def _summed(node: ir.Node) -> float:
    """How many values go into one sum at most."""
    if "kernel_shape" in node.attributes:
        return float(np.prod(node.attributes.get_ints("kernel_shape")))
    shapes = [v.shape for v in (node.inputs[0], node.outputs[0]) if v is not None]
    if len(shapes) < 2 or any(s is None or not s.is_static() for s in shapes):
        return np.inf
    before, after = (float(np.prod(s.numpy())) for s in shapes if s is not None)
    return before / max(after, 1)


#: by operator: changes the node and the quantizer behind it in place, where no sum can leave the whole numbers
WHOLE_NUMBERS: dict[str, Callable[[ir.Graph, ir.Node, ir.Node], None]] = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"), _mean),
    "ConvTranspose": _conv_transpose,
}
