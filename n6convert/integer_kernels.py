"""INT8 QDQ graphs in the form that onnxruntime computes in integers, alike on every CPU.

Left to itself, onnxruntime decides by CPU, by neighbours and by who else reads a tensor how a quantized operator runs:
with signed weights whose products saturate at 16 bits (x86 without VNNI), in float32 whose sums depend on the
instruction set, or by an approximation (Softmax). Here every product becomes one integer operator on unsigned codes,
whose sums are exact on all of them, and every mean sums whole numbers. What is left stays in float32 between its pairs,
value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes
from numpy.typing import NDArray

__all__ = ["QDQ_OPTIMIZERS", "is_quantized", "with_integer_kernels"]

#: what onnxruntime must not do to such a graph: each of these decides anew what runs as integers
QDQ_OPTIMIZERS = (
    "QDQSelectorActionTransformer", "QDQPropagationTransformer", "DoubleQDQPairsRemover", "QDQFinalCleanupTransformer",
    "QDQS8ToU8Transformer", "WeightBiasQuantization", "EnsureUniqueDQForNodeUnit",
)  # fmt: skip
_OFFSET = 128
_CONTRIB = "com.microsoft"
#: whole numbers below are exact in float32
_EXACT = 1 << 24
_INT8, _UINT8 = ir.DataType.INT8, ir.DataType.UINT8


def is_quantized(model: ir.Model) -> bool:
    """Whether any tensor of the graph is rounded to codes."""
    return any(node.op_type == "QuantizeLinear" for node in model.graph)


def with_integer_kernels(model: ir.Model) -> ir.Model:
    """A copy of a QDQ graph with integer operators in place of its pairs; inputs and outputs are as before."""
    copy = model.clone()
    graph = copy.graph
    for node in list(graph):
        if node.op_type == "QuantizeLinear" and _dtype(node.inputs, 2) == _INT8:
            _quantize_unsigned(graph, node)
        elif node.op_type == "DequantizeLinear" and _dtype(node.inputs, 2) == _INT8:
            _dequantize_unsigned(graph, node)
    for node in list(graph):
        quantize = _quantizer(node)
        if quantize is not None:
            _integer(graph, node, quantize)
    passes.RemoveUnusedNodesPass()(copy)
    graph.opset_imports.setdefault(_CONTRIB, 1)
    return copy


def _integer(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> None:
    """Put an integer operator in place of a node and the quantizer behind it, where there is one that is exact."""
    if node.op_type in _WHOLE:
        _WHOLE[node.op_type](graph, node, quantize)
        return
    make = _KERNELS.get(node.op_type)
    operands = [_Operand.behind(graph, v) for v in node.inputs] if make is not None else []
    known = [o for o in operands if o is not None]
    made = make(node, known, quantize) if make is not None and len(known) == len(operands) else None
    if made is None:
        return
    old, new = quantize.outputs[0], made.outputs[0]
    new.name, new.type, new.shape = old.name, old.type, old.shape
    graph.insert_before(quantize, made)
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    graph.remove([quantize, node], safe=True)


@dataclass(frozen=True)
class _Operand:
    """What stands behind a DequantizeLinear, codes unsigned unless they are a bias.

    Attributes:
        axis: of the scales where there is more than one; None for one.
    """

    codes: ir.Value
    scale: ir.Value
    zero_point: ir.Value | None
    axis: int | None

    @classmethod
    def behind(cls, graph: ir.Graph, value: ir.Value | None) -> _Operand | None:
        node = value.producer() if value is not None else None
        if node is None or node.op_type != "DequantizeLinear" or node.attributes.get_int("block_size"):
            return None
        codes, scale, zero = [*node.inputs, None][:3]
        if codes is None or scale is None or scale.const_value is None:
            return None
        axis = None if _numbers(scale).size == 1 else node.attributes.get_int("axis", 1) % _numbers(codes).ndim
        if codes.dtype == _INT8 and codes.const_value is not None:
            zero = _shifted(graph, zero) if zero is not None else _store(graph, f"{codes.name}_128", np.uint8(_OFFSET))
            codes = _shifted(graph, codes)
        return cls(codes, scale, zero, axis)

    @property
    def inputs(self) -> list[ir.Value | None]:
        return [self.codes, self.scale, self.zero_point]

    def is_activation(self) -> bool:
        return self.codes.dtype == _UINT8 and self.axis is None and self.zero_point is not None

    def is_weight(self, axis: int) -> bool:
        """Whether it has one scale, or one along the axis."""
        return self.codes.dtype == _UINT8 and self.zero_point is not None and self.axis in (None, axis)

    def is_bias(self, products: NDArray[Any]) -> bool:
        """Whether it counts in steps of the products, as the kernels add it."""
        offset = self.zero_point is not None and bool(_numbers(self.zero_point).any())
        same = np.allclose(_numbers(self.scale), products, rtol=1e-6, atol=0)
        return self.codes.dtype == ir.DataType.INT32 and same and not offset


def _products(source: _Operand, weight: _Operand) -> NDArray[Any]:
    products: NDArray[Any] = _numbers(source.scale) * _numbers(weight.scale)
    return products


_Kernel = Callable[[ir.Node, Sequence[_Operand], ir.Node], ir.Node | None]


def _conv(node: ir.Node, operands: Sequence[_Operand], quantize: ir.Node) -> ir.Node | None:
    x, w, *bias = operands
    if not (x.is_activation() and w.is_weight(0) and all(b.is_bias(_products(x, w)) for b in bias)):
        return None
    inputs = [*x.inputs, *w.inputs, *quantize.inputs[1:3], *(b.codes for b in bias)]
    return ir.Node("", "QLinearConv", inputs, list(node.attributes.values()), name=node.name)


def _gemm(node: ir.Node, operands: Sequence[_Operand], quantize: ir.Node) -> ir.Node | None:
    x, w, *bias = operands
    factors = {node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")}
    axis = 0 if node.attributes.get_int("transB", 0) else 1
    if not (x.is_activation() and w.is_weight(axis) and all(b.is_bias(_products(x, w)) for b in bias)) or factors != {
        1.0
    }:
        return None
    turned = [a for a in node.attributes.values() if a.name in ("transA", "transB")]
    bias_codes: list[ir.Value | None] = [b.codes for b in bias] or [None]
    inputs = [*x.inputs, *w.inputs, *bias_codes, *quantize.inputs[1:3]]
    return ir.Node(_CONTRIB, "QGemm", inputs, turned, name=node.name)


def _matmul(node: ir.Node, operands: Sequence[_Operand], quantize: ir.Node) -> ir.Node | None:
    a, b = operands
    ranks = [len(o.codes.shape) if o.codes.shape is not None else 0 for o in operands]
    if min(ranks) < 2 or not (a.is_activation() and b.is_weight(ranks[1] - 1)):
        return None
    return ir.Node("", "QLinearMatMul", [*a.inputs, *b.inputs, *quantize.inputs[1:3]], name=node.name)


_KERNELS: dict[str, _Kernel] = {"Conv": _conv, "Gemm": _gemm, "MatMul": _matmul}


def _mean(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> None:
    """Let a mean add whole numbers, which float32 holds in any order; the quantizer gets the quotient of scales."""
    read = _Operand.behind(graph, node.inputs[0])
    if read is None or not read.is_activation() or _summed(node) > _EXACT / (2 * _OFFSET):
        return
    _read_integers(graph, node, 0, read)
    quotient = _numbers(quantize.inputs[1]) / _numbers(read.scale)
    quantize.replace_input_with(1, _store(graph, f"{node.outputs[0].name}_quotient", quotient))


def _conv_transpose(graph: ir.Graph, node: ir.Node, quantize: ir.Node) -> None:
    """Likewise with one quotient a channel, where the weights are small enough that no sum leaves the whole numbers."""
    operands = [_Operand.behind(graph, v) for v in node.inputs]
    known = [o for o in operands if o is not None]
    if len(known) < len(operands) or not (known[0].is_activation() and known[1].is_weight(1)):
        return
    x, w, *bias = known
    groups = node.attributes.get_int("group", 1)
    weights = np.abs(_numbers(w.codes).astype(np.int64) - _OFFSET)
    steps = np.tile(np.broadcast_to(_products(x, w), weights.shape[1]), groups)
    sums = np.concatenate([part.sum(axis=(0, *range(2, part.ndim))) for part in np.split(weights, groups)])
    added = np.abs(_numbers(bias[0].codes).astype(np.int64)) if bias else 0
    if (sums * 2 * _OFFSET + added).max() > _EXACT or not all(b.is_bias(steps) for b in bias):
        return
    for index, operand in enumerate(known):
        _read_integers(graph, node, index, operand)
    quotients = (_numbers(quantize.inputs[1]) / steps).astype(np.float32)
    for index, array in ((1, quotients), (2, np.full(quotients.shape, _numbers(quantize.inputs[2])))):
        quantize.replace_input_with(index, _store(graph, f"{node.outputs[0].name}_channels_{index}", array))
    quantize.attributes["axis"] = ir.AttrInt64("axis", 1)


_WHOLE: dict[str, Callable[[ir.Graph, ir.Node, ir.Node], None]] = {
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"), _mean),
    "ConvTranspose": _conv_transpose,
}


def _read_integers(graph: ir.Graph, node: ir.Node, index: int, operand: _Operand) -> None:
    """Let a node read what its operand counts instead of what that is worth."""
    name, old = f"{node.outputs[0].name}_integers_{index}", node.inputs[index]
    assert old is not None
    one = _store(graph, f"{name}_step", np.ones(np.shape(_numbers(operand.scale)), np.float32))
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


def _quantizer(node: ir.Node) -> ir.Node | None:
    """The quantizer to uint8 on one grid that alone reads a node's output."""
    if node.domain or len(node.outputs) != 1 or node.outputs[0].is_graph_output() or len(node.outputs[0].uses()) != 1:
        return None
    user = next(iter(node.outputs[0].consumers()))
    single = user.op_type == "QuantizeLinear" and _dtype(user.inputs, 2) == _UINT8
    return user if single and user.inputs[0] is node.outputs[0] and _numbers(user.inputs[1]).size == 1 else None


def _quantize_unsigned(graph: ir.Graph, node: ir.Node) -> None:
    scale, zero = node.inputs[1:3]
    code = node.outputs[0]
    node.replace_input_with(2, _shifted(graph, zero))
    code.type = ir.TensorType(_UINT8)
    if code.is_graph_output():
        name = code.name
        code.name = f"{name}_unsigned"
        pair = _recoding(code, (scale, node.inputs[2]), (scale, zero), _INT8)
        graph.insert_after(node, pair)
        graph.outputs[list(graph.outputs).index(code)] = pair[1].outputs[0]
        pair[1].outputs[0].name = name


def _dequantize_unsigned(graph: ir.Graph, node: ir.Node) -> None:
    code, scale, zero = node.inputs[:3]
    if code is None or code.const_value is not None:
        return
    node.replace_input_with(2, _shifted(graph, zero))
    if code.is_graph_input():
        pair = _recoding(code, (scale, zero), (scale, node.inputs[2]), _UINT8)
        pair[1].outputs[0].name = f"{node.outputs[0].name}_unsigned"
        pair[0].outputs[0].name = f"{node.outputs[0].name}_signed"
        graph.insert_before(node, pair)
        node.replace_input_with(0, pair[1].outputs[0])


_Grid = tuple[ir.Value | None, ir.Value | None]


def _recoding(code: ir.Value, read: _Grid, written: _Grid, dtype: ir.DataType) -> list[ir.Node]:
    """A pair from codes of one sign to the other, for where they enter or leave the graph."""
    values = ir.node("DequantizeLinear", [code, *read])
    codes = ir.node("QuantizeLinear", [values.outputs[0], *written])
    values.outputs[0].name = f"{code.name}_values"
    codes.outputs[0].type, codes.outputs[0].shape = ir.TensorType(dtype), code.shape
    return [values, codes]


def _dtype(values: Sequence[ir.Value | None], index: int) -> ir.DataType | None:
    value = values[index] if index < len(values) else None
    return value.dtype if value is not None and value.const_value is not None else None


def _numbers(value: ir.Value | None) -> NDArray[Any]:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def _shifted(graph: ir.Graph, value: ir.Value | None) -> ir.Value:
    """An int8 constant as uint8, 128 higher."""
    assert value is not None
    return _store(graph, f"{value.name}_unsigned", (_numbers(value).astype(np.int16) + _OFFSET).astype(np.uint8))


def _store(graph: ir.Graph, name: str, array: NDArray[Any] | np.generic) -> ir.Value:
    known = graph.initializers.get(name)
    if known is not None:
        return known
    tensor = ir.tensor(np.asarray(array), name=name)
    shape = ir.Shape(np.shape(array))
    value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=shape, const_value=tensor)
    graph.register_initializer(value)
    return value
