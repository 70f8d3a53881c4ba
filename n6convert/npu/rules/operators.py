"""Operators with one fate in every form, and the rules that apply to all operators ([#onnx-operators])."""

from __future__ import annotations

from n6convert.graph.operators import PRODUCTS, VIEWS
from n6convert.npu.ir import Where
from n6convert.npu.rules.base import ANY, COPY, DEPTHWISE_REST, Subject, rule

_FREE_TYPES = {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", COPY, DEPTHWISE_REST}
_NEEDS_QUANTIZED_CONSTANTS = {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Equal", "Concat"}
_INTEGERS = {"int8", "uint8", "int16", "bool"}


@rule(
    ANY,
    where=Where.SW,
    as_float=True,
    evidence="seen in every report that has one (r03, r07, r10, r11)",
    remedy="quantize its inputs and its output (one Q/DQ pair on every edge)",
)
def not_quantized(s: Subject) -> bool:
    """An operator with an unquantized input or output runs in float on the M55, between conversions (a scalar
    constant may be float)."""
    if s.node.op in _FREE_TYPES or s.node.op in VIEWS:
        return False
    edges = [*s.data, *(s.graph.tensors[name] for name in s.node.outputs if name)]
    if any(tensor.dtype not in _INTEGERS for tensor in edges):
        return True
    if s.node.op in _NEEDS_QUANTIZED_CONSTANTS:
        return any(not tensor.quantized and tensor.elements > 1 for tensor in s.parameters)
    weights = s.input(1)
    return s.node.op in PRODUCTS and weights is not None and weights.constant and not weights.quantized


@rule(COPY, where=Where.HW, evidence="seen in every report")
def layout_copy(s: Subject) -> bool:
    """Copies into another storage order, inserted by the compiler, are done by the DMA and the ARITH units."""
    return True


@rule("QuantizeLinear", where=Where.HW, evidence="seen r02, r03")
def requantize(s: Subject) -> bool:
    """A change of scale, or between int8 and uint8, is an Add on the ARITH units."""
    return bool(s.data) and s.data[0].dtype in _INTEGERS


@rule(
    "QuantizeLinear",
    where=Where.SW,
    evidence="seen everywhere (r07, r10, r11, r15)",
    remedy="quantize the operators around it, or give the network int8 inputs",
)
def quantize(s: Subject) -> bool:
    """Conversion from float to int8 runs on the M55."""
    return True


@rule(
    "DequantizeLinear",
    where=Where.SW,
    evidence="seen everywhere (r02, r03, r07, r10, r11, r15)",
    remedy="quantize the operators around it, or take int8 outputs",
)
def dequantize(s: Subject) -> bool:
    """Conversion from int8 to float runs on the M55."""
    return True


@rule(
    ANY + "unknown",
    where=Where.SW,
    as_float=True,
    evidence="inferred: not in ST's operator tables",
    remedy="express it by operators of the table, or do it on the host",
)
def unknown_operator(s: Subject) -> bool:
    """This operator is not in ST's tables; it runs in float on the M55 if the import accepts it at all."""
    return True
