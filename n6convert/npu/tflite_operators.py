"""Operators of TFLite in ONNX's terms, in channel-first order."""

from __future__ import annotations

import numpy as np

from n6convert.npu import tflite_movement  # noqa: F401  # registers its operators
from n6convert.npu.layout import permuted
from n6convert.npu.tflite_file import TFLiteOperator
from n6convert.npu.tflite_handlers import HANDLERS, broadcast, translates
from n6convert.npu.tflite_translator import Translator

__all__ = ["translate"]

_SAME: dict[str, str] = {
    "ABS": "Abs",
    "ADD": "Add",
    "CAST": "Cast",
    "CEIL": "Ceil",
    "COS": "Cos",
    "DEQUANTIZE": "DequantizeLinear",
    "DIV": "Div",
    "ELU": "Elu",
    "EQUAL": "Equal",
    "EXP": "Exp",
    "FLOOR": "Floor",
    "FLOOR_DIV": "Div",
    "FLOOR_MOD": "Mod",
    "GELU": "Gelu",
    "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterOrEqual",
    "HARD_SWISH": "HardSwish",
    "L2_NORMALIZATION": "LpNormalization",
    "LEAKY_RELU": "LeakyRelu",
    "LESS": "Less",
    "LESS_EQUAL": "LessOrEqual",
    "LOCAL_RESPONSE_NORMALIZATION": "LRN",
    "LOG": "Log",
    "LOGICAL_AND": "And",
    "LOGICAL_NOT": "Not",
    "LOGICAL_OR": "Or",
    "LOGISTIC": "Sigmoid",
    "MAXIMUM": "Max",
    "MINIMUM": "Min",
    "MUL": "Mul",
    "NEG": "Neg",
    "POW": "Pow",
    "PRELU": "PRelu",
    "QUANTIZE": "QuantizeLinear",
    "RELU": "Relu",
    "RELU6": "Clip",
    "RELU_0_TO_1": "Clip",
    "RELU_N1_TO_1": "Clip",
    "ROUND": "Round",
    "SELECT": "Where",
    "SELECT_V2": "Where",
    "SIN": "Sin",
    "SQRT": "Sqrt",
    "SUB": "Sub",
    "TANH": "Tanh",
    "WHERE": "NonZero",
}
"""Operators that act element by element: only the broadcast of their constants depends on the layout."""

_REDUCE = {
    "MEAN": "ReduceMean",
    "SUM": "ReduceSum",
    "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
    "REDUCE_PROD": "ReduceProd",
    "ARG_MAX": "ArgMax",
    "ARG_MIN": "ArgMin",
}


def translate(t: Translator, op: TFLiteOperator) -> None:
    """Append the ONNX form of one operator; unknown operators keep their TFLite name."""
    handler = HANDLERS.get(op.kind)
    if handler is None:
        t.emit(op.kind, op.inputs, op.outputs)
    else:
        handler(t, op)


@translates(*_SAME)
def _elementwise(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.outputs[0])
    inputs = [broadcast(t, name, rank) for name in op.inputs]
    t.emit(_SAME[op.kind], inputs, op.outputs)


@translates("CONV_2D", "DEPTHWISE_CONV_2D")
def _conv(t: Translator, op: TFLiteOperator) -> None:
    x, weights, *bias = op.inputs
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    shape = t.original(weights)
    order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    dilation = 5 if depthwise else 4
    strides = [op.option(2, default=1), op.option(1, default=1)]
    dilations = [op.option(dilation + 1, default=1), op.option(dilation, default=1)]
    w = t.turned(weights, "oihw", permuted(shape, order))
    pads = _padding(t, op, x, op.outputs[0], [shape[1], shape[2]], strides, dilations)
    group = t.original(x)[-1] // (1 if depthwise else shape[3])
    t.emit(
        "Conv",
        [x, w, *bias],
        op.outputs,
        kernel_shape=[shape[1], shape[2]],
        strides=strides,
        dilations=dilations,
        pads=pads,
        group=group,
    )


def _padding(
    t: Translator, op: TFLiteOperator, x: str, y: str, kernel: list[int], strides: list[int], dilations: list[int]
) -> list[int]:
    if op.option(0, "i8") != 0:
        return [0, 0, 0, 0]
    begin, end = [], []
    for axis in (0, 1):
        size, out = t.original(x)[axis + 1], t.original(y)[axis + 1]
        span = (kernel[axis] - 1) * dilations[axis] + 1
        total = max((out - 1) * strides[axis] + span - size, 0)
        begin.append(total // 2)
        end.append(total - total // 2)
    return begin + end


@translates("TRANSPOSE_CONV")
def _conv_transpose(t: Translator, op: TFLiteOperator) -> None:
    weights, x, *bias = op.inputs[1:]
    shape = t.original(weights)
    strides = [op.option(2, default=1), op.option(1, default=1)]
    w = t.turned(weights, "iohw", permuted(shape, (3, 0, 1, 2)))
    t.emit("ConvTranspose", [x, w, *bias], op.outputs, kernel_shape=list(shape[1:3]), strides=strides, group=1)


@translates("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool(t: Translator, op: TFLiteOperator) -> None:
    strides = [op.option(2, default=1), op.option(1, default=1)]
    kernel = [op.option(4, default=1), op.option(3, default=1)]
    pads = _padding(t, op, op.inputs[0], op.outputs[0], kernel, strides, [1, 1])
    kind = "MaxPool" if op.kind == "MAX_POOL_2D" else "AveragePool"
    t.emit(kind, op.inputs, op.outputs, kernel_shape=kernel, strides=strides, pads=pads)


@translates("FULLY_CONNECTED")
def _gemm(t: Translator, op: TFLiteOperator) -> None:
    x, weights, *bias = op.inputs
    out = op.outputs[0]
    columns, rows = t.original(weights)
    x = t.to_last(x)
    if t.rank(op.inputs[0]) != 2:
        flat = t.fresh(x, "rows", (-1, rows) if -1 in t.original(op.inputs[0]) else _rows(t, op, rows))
        t.emit("Reshape", [x], [flat])
        x = flat
    if t.rank(out) == 2:
        t.emit("Gemm", [x, weights, *bias], [out], transB=1)
        return
    flat = t.fresh(out, "rows", (_rows(t, op, rows)[0], columns))
    t.emit("Gemm", [x, weights, *bias], [flat], transB=1)
    t.emit("Reshape", [flat], [t.from_last(out)])


def _rows(t: Translator, op: TFLiteOperator, width: int) -> tuple[int, int]:
    total = int(np.prod(t.original(op.inputs[0])))
    return total // width, width


@translates("BATCH_MATMUL")
def _matmul(t: Translator, op: TFLiteOperator) -> None:
    a, b = (t.to_last(name) for name in op.inputs)
    for flag, name in ((0, 0), (1, 1)):
        if op.options is not None and op.options.flag(flag):
            a, b = (_swapped(t, a), b) if name == 0 else (a, _swapped(t, b))
    t.emit("MatMul", [a, b], [t.from_last(op.outputs[0])])


def _swapped(t: Translator, name: str) -> str:
    shape = t.graph.tensors[name].shape if name in t.graph.tensors else t.original(name)
    perm = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    result = t.fresh(name, "swapped", permuted(shape, perm))
    t.emit("Transpose", [name], [result], perm=list(perm))
    return result


@translates(*_REDUCE)
def _reduce(t: Translator, op: TFLiteOperator) -> None:
    x, out = op.inputs[0], op.outputs[0]
    rank = t.rank(x)
    axes = sorted(t.axis(a, rank) for a in t.ints(op.inputs[1]))
    if t.rank(out) == rank or t.graph.constant(x) or rank < 3:
        t.emit(_REDUCE[op.kind], [x], [out], axes=axes, keepdims=int(t.rank(out) == rank))
        return
    kept = [1 if i in axes else size for i, size in enumerate(permuted(t.original(x), t.perm(rank)))]
    part = t.fresh(out, "keepdims", tuple(kept))
    t.emit(_REDUCE[op.kind], [x], [part], axes=axes, keepdims=1)
    t.emit("Reshape", [part], [out])


@translates("SOFTMAX")
def _softmax(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.inputs[0])
    t.emit("Softmax", op.inputs, op.outputs, axis=t.axis(rank - 1, rank))


@translates("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(t: Translator, op: TFLiteOperator) -> None:
    nearest = op.kind == "RESIZE_NEAREST_NEIGHBOR"
    corners, centers = (0, 1) if nearest else (2, 3)
    flags = [op.options is not None and op.options.flag(i) for i in (corners, centers)]
    mode = "align_corners" if flags[0] else "half_pixel" if flags[1] else "asymmetric"
    if nearest and mode == "half_pixel" and _enlarges_by_whole_factors(t, op):
        mode = "asymmetric"
    t.emit(
        "Resize",
        op.inputs[:1],
        op.outputs,
        mode="nearest" if nearest else "linear",
        coordinate_transformation_mode=mode,
        nearest_mode="floor",
    )


def _enlarges_by_whole_factors(t: Translator, op: TFLiteOperator) -> bool:
    """floor((x + 1/2) / s) is floor(x / s) for whole s: half-pixel centers pick the same neighbors (SEEN r05, r31)."""
    before, after = t.original(op.inputs[0]), t.original(op.outputs[0])
    return len(before) == 4 and -1 not in before and all(b % a == 0 for a, b in zip(before, after, strict=True))


@translates("SQUARE")
def _square(t: Translator, op: TFLiteOperator) -> None:
    t.emit("Mul", [op.inputs[0], op.inputs[0]], op.outputs)


@translates("SQUARED_DIFFERENCE")
def _squared_difference(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.outputs[0])
    shape = permuted(t.original(op.outputs[0]), t.perm(rank))
    difference = t.fresh(op.outputs[0], "difference", shape)
    t.emit("Sub", [broadcast(t, name, rank) for name in op.inputs], [difference])
    t.emit("Mul", [difference, difference], op.outputs)


@translates("RSQRT")
def _rsqrt(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.outputs[0])
    root = t.fresh(op.outputs[0], "sqrt", permuted(t.original(op.outputs[0]), t.perm(rank)))
    t.emit("Sqrt", op.inputs, [root])
    t.emit("Reciprocal", [root], op.outputs)
