"""Operators with one fate in every form, and the rules that apply to all operators ([#onnx-operators])."""

from __future__ import annotations

from n6convert.npu.ir import Where
from n6convert.npu.rules.base import ANY, COPY, DEPTHWISE_REST, Subject, rule

_FREE_TYPES = {"QuantizeLinear", "DequantizeLinear", "Cast", "Transpose", COPY, DEPTHWISE_REST}
_VIEWS = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"}
_NEEDS_QUANTIZED_CONSTANTS = {"Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Equal", "Concat"}
_WEIGHTED = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
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
    if s.node.op in _FREE_TYPES or s.node.op in _VIEWS:
        return False
    edges = [*s.data, *(s.graph.tensors[name] for name in s.node.outputs if name)]
    if any(tensor.dtype not in _INTEGERS for tensor in edges):
        return True
    if s.node.op in _NEEDS_QUANTIZED_CONSTANTS:
        return any(not tensor.quantized and tensor.elements > 1 for tensor in s.parameters)
    weights = s.input(1)
    return s.node.op in _WEIGHTED and weights is not None and weights.constant and not weights.quantized


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
    "Softmax",
    where=Where.HW,
    needs="expand_softmax",
    evidence="seen in one public 4.0.1 build, 12 epochs in place of 4 Softmax; which operators they are is inferred",
)
def softmax_expanded(s: Subject) -> bool:
    """Compiled with --expand-softmax, a Softmax becomes {SOFTMAX_EPOCHS} epochs on the NPU; their accuracy is not
    published."""
    return "expand-softmax" in s.switches


@rule(
    "Softmax",
    where=Where.SW,
    evidence="seen in every report; on 4.x --expand-softmax moves it to the NPU (3 epochs each)",
    remedy="cut it from the graph, decompose it, or compile with --expand-softmax (target board@4.0+expand-softmax)",
    rewrite="softmax-decompose",
)
def softmax(s: Subject) -> bool:
    """Softmax is executed by the M55 in int8."""
    return True


@rule(
    "Reciprocal",
    "Log",
    "Elu",
    "Selu",
    "Softplus",
    "Softsign",
    "LogSoftmax",
    where=Where.SW,
    as_float=True,
    evidence="documented; Reciprocal seen 12/12 (r15)",
    remedy="replace it by functions of the ACTIV units; 1/sqrt(x) by a piecewise linear table",
    rewrite="layernorm-decompose",
)
def float_function(s: Subject) -> bool:
    """This function is computed in float by the M55."""
    return True


@rule(
    "LayerNormalization",
    where=Where.SW,
    as_float=True,
    evidence="seen on 4.0.1: expanded after the import, without quantization inside; not in the older tables",
    remedy="decompose it before quantizing",
    rewrite="layernorm-decompose",
)
def layer_normalization(s: Subject) -> bool:
    """LayerNormalization as one operator is computed in float by the M55."""
    return True


@rule(
    "InstanceNormalization",
    "GroupNormalization",
    "RMSNormalization",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "LpNormalization",
    "LRN",
    "Hardmax",
    where=Where.SW,
    as_float=True,
    evidence="documented (the newer ones: not in ST's table)",
    remedy="use batch normalization, which is folded into convolutions",
)
def normalization(s: Subject) -> bool:
    """This normalization is computed in float by the M55."""
    return True


@rule("BatchNormalization", where=Where.HW, needs="batch_normalization", evidence="documented")
def batch_normalization(s: Subject) -> bool:
    """A BatchNormalization that cannot be folded runs on the ARITH units."""
    return True


@rule(
    "BatchNormalization",
    where=Where.SW,
    as_float=True,
    evidence="documented; seen r07 (Mul and Add in float)",
    remedy="fold it into the convolution or product before it",
)
def batch_normalization_alone(s: Subject) -> bool:
    """A BatchNormalization that cannot be folded is computed in float by the M55."""
    return True


@rule("Equal", "And", "Or", "Not", where=Where.HW, evidence="documented")
def logic(s: Subject) -> bool:
    """Equality and logic run on the ARITH units."""
    return True


@rule(
    *("ReduceSum", "ReduceMin", "ReduceProd", "ReduceLogSumExp", "ReduceL1", "ReduceL2", "ArgMax", "ArgMin"),
    where=Where.SW,
    as_float=True,
    evidence="documented",
    remedy="write a sum as ReduceMean times the number of elements; do ArgMax on the host",
    rewrite="reduce-to-pool",
)
def float_reduction(s: Subject) -> bool:
    """This reduction is computed in float by the M55."""
    return True


@rule(
    *("Max", "Min", "Mod", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Ceil", "Floor", "Round", "Upsample"),
    where=Where.SW,
    as_float=True,
    evidence="documented",
    remedy="replace a comparison with a constant by a clipped affine function",
)
def float_elementwise(s: Subject) -> bool:
    """This operator is computed in float by the M55."""
    return True


@rule(
    "LSTM",
    "GRU",
    "RNN",
    where=Where.SW,
    as_float=True,
    evidence="documented as not for the NPU",
    remedy="write out its steps, or give the network one step and its states as inputs and outputs",
    rewrite="unroll-recurrent",
)
def recurrent_cell(s: Subject) -> bool:
    """The compiler has no NPU form of a recurrent cell."""
    return True


@rule(
    *("Einsum", "If", "Loop", "Scan", "GridSample", "NonMaxSuppression", "TopK", "NonZero"),
    where=Where.SW,
    as_float=True,
    evidence="documented as not for the NPU, or seen to be rejected by the import",
    remedy="cut it from the graph and do it on the host",
)
def not_for_npu(s: Subject) -> bool:
    """The compiler has no NPU form of this operator and may reject it."""
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
