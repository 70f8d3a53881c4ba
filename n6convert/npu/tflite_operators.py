"""Operators of TFLite in ONNX's terms, in channel-first order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from n6convert.npu.ir import Tensor
from n6convert.npu.layout import permuted
from n6convert.npu.tflite_file import TFLiteOperator
from n6convert.npu.tflite_translator import Translator

__all__ = ["translate"]

Handler = Callable[[Translator, TFLiteOperator], None]
_HANDLERS: dict[str, Handler] = {}

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
    handler = _HANDLERS.get(op.kind)
    if handler is None:
        t.emit(op.kind, op.inputs, op.outputs)
    else:
        handler(t, op)


def translates(*kinds: str) -> Callable[[Handler], Handler]:
    """Register the translation of operators."""

    def register(handler: Handler) -> Handler:
        _HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


@translates(*_SAME)
def _elementwise(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.outputs[0])
    inputs = [_broadcast(t, name, rank) for name in op.inputs]
    t.emit(_SAME[op.kind], inputs, op.outputs)


def _broadcast(t: Translator, name: str, rank: int) -> str:
    if not name or not t.first or (t.rank(name) == rank and not t.graph.constant(name)):
        return name
    shape = (1,) * (rank - t.rank(name)) + t.original(name)
    inner = permuted(shape, t.perm(rank))
    if t.graph.constant(name):
        return t.fresh(name, "view", inner)
    view = t.fresh(name, "view", inner)
    t.emit("Reshape", [name], [view])
    return view


@translates("CONV_2D", "DEPTHWISE_CONV_2D")
def _conv(t: Translator, op: TFLiteOperator) -> None:
    x, weights, *bias = op.inputs
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    shape = t.original(weights)
    order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    dilation = 5 if depthwise else 4
    strides = [op.option(2, default=1), op.option(1, default=1)]
    dilations = [op.option(dilation + 1, default=1), op.option(dilation, default=1)]
    w = t.fresh(weights, "oihw", permuted(shape, order))
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
    w = t.fresh(weights, "iohw", permuted(shape, (3, 0, 1, 2)))
    t.emit(
        "ConvTranspose", [x, w, *bias], op.outputs, kernel_shape=list(shape[1:3]), strides=strides, group=1
    )


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


@translates("CONCATENATION")
def _concat(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.outputs[0])
    axis = t.axis(op.option(0), rank)
    t.emit("Concat", [_broadcast(t, name, rank) for name in op.inputs], op.outputs, axis=axis)


@translates("PACK")
def _pack(t: Translator, op: TFLiteOperator) -> None:
    axis = op.option(1)
    parts = []
    for name in op.inputs:
        part = t.fresh(name, "item", None)
        t.graph.values[f"{part}/axis"] = np.array([axis])
        t.graph.tensors[f"{part}/axis"] = Tensor(f"{part}/axis", (1,), "int64", constant=True)
        t.emit("Unsqueeze", [t.to_last(name), f"{part}/axis"], [part])
        parts.append(part)
    t.emit("Concat", parts, [t.from_last(op.outputs[0])], axis=axis)


@translates("UNPACK")
def _unpack(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.inputs[0])
    axis = op.option(1) % rank
    shape = t.original(op.inputs[0])
    part = (*shape[:axis], 1, *shape[axis + 1 :])
    pieces = [t.fresh(name, "item", permuted(part, t.perm(rank))) for name in op.outputs]
    t.emit("Split", op.inputs[:1], pieces, axis=t.axis(axis, rank))
    for piece, name in zip(pieces, op.outputs, strict=True):
        t.emit("Reshape", [piece], [name])


@translates("SPLIT", "SPLIT_V")
def _split(t: Translator, op: TFLiteOperator) -> None:
    x, axis = (op.inputs[1], op.inputs[0]) if op.kind == "SPLIT" else (op.inputs[0], op.inputs[2])
    t.emit("Split", [x], op.outputs, axis=t.axis(t.ints(axis)[0], t.rank(x)))


@translates("SLICE", "STRIDED_SLICE")
def _slice(t: Translator, op: TFLiteOperator) -> None:
    x, out = op.inputs[0], op.outputs[0]
    if t.rank(x) == 1 or -1 in t.original(out):
        _constant_slice(t, op)
        return
    shape, result = t.original(x), t.original(out)
    if len(shape) != len(result):
        _view(t, _sliced(t, op, x), out, "")
        return
    axes = [t.axis(i, len(shape)) for i, size in enumerate(result) if size != shape[i]]
    t.emit("Slice", [x], [out], axes=axes)


def _sliced(t: Translator, op: TFLiteOperator, x: str) -> str:
    shrink = op.option(4)
    begin, end = t.ints(op.inputs[1]), t.ints(op.inputs[2])
    shape = list(t.original(x))
    for axis in range(min(len(shape), len(begin))):
        if shrink >> axis & 1:
            shape[axis] = 1
        elif not (op.option(0) >> axis & 1 and op.option(1) >> axis & 1):
            shape[axis] = len(range(*slice(begin[axis], end[axis]).indices(shape[axis])))
    part = t.fresh(x, "slice", permuted(tuple(shape), t.perm(len(shape))))
    t.file.tensors[part] = Tensor(part, tuple(shape), t.file.tensors[x].dtype)
    whole = t.original(x)
    axes = [t.axis(i, len(shape)) for i, size in enumerate(shape) if size != whole[i]]
    t.emit("Slice", [x], [part], axes=axes)
    return part


def _constant_slice(t: Translator, op: TFLiteOperator) -> None:
    """A slice of a shape vector, in ONNX's own form so that its value can be computed."""
    begin, end = op.inputs[1], op.inputs[2]
    shrink = op.kind == "STRIDED_SLICE" and op.option(4) & 1
    if not shrink:
        t.emit("Slice", [t.to_last(op.inputs[0]), begin, end], [t.from_last(op.outputs[0])])
        return
    part = t.fresh(op.outputs[0], "slice", None)
    t.emit("Slice", [op.inputs[0], begin, end], [part])
    t.emit("Squeeze", [part], op.outputs)


@translates("SHAPE")
def _shape(t: Translator, op: TFLiteOperator) -> None:
    t.emit("Shape", [t.to_last(op.inputs[0])], op.outputs)


@translates("GATHER")
def _gather(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.inputs[0])
    t.emit("Gather", op.inputs, op.outputs, axis=t.axis(op.option(0), rank) if rank else 0)


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


@translates("RESHAPE")
def _reshape(t: Translator, op: TFLiteOperator) -> None:
    _view(t, op.inputs[0], op.outputs[0], op.inputs[1] if len(op.inputs) > 1 else "")


@translates("SQUEEZE", "EXPAND_DIMS")
def _squeeze(t: Translator, op: TFLiteOperator) -> None:
    _view(t, op.inputs[0], op.outputs[0], "")


def _view(t: Translator, x: str, out: str, target: str) -> None:
    before, after = t.original(x), t.original(out)
    ranks = len(before), len(after)
    same_channels = before[-1:] == after[-1:] and -1 not in before[-1:]
    if not t.first or (min(ranks) >= 3 and same_channels) or max(ranks) < 3:
        t.emit("Reshape", [x, target] if -1 in after else [x], [out])
        return
    inputs = [t.to_last(x), *([target] if -1 in after else [])]
    t.emit("Reshape", inputs, [t.from_last(out)])


@translates("TRANSPOSE")
def _transpose(t: Translator, op: TFLiteOperator) -> None:
    perm = t.ints(op.inputs[1])
    inner = t.perm(len(perm))
    composed = [inner.index(perm[axis]) for axis in inner]
    t.emit("Transpose", op.inputs[:1], op.outputs, perm=composed)


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
    t.emit(
        "Resize",
        op.inputs[:1],
        op.outputs,
        mode="nearest" if nearest else "linear",
        coordinate_transformation_mode=mode,
        nearest_mode="floor",
    )


@translates("MIRROR_PAD", "PAD", "PADV2")
def _pad(t: Translator, op: TFLiteOperator) -> None:
    amounts = np.reshape(t.ints(op.inputs[1]), (-1, 2))
    perm = t.perm(len(amounts))
    pads = [int(amounts[axis][side]) for side in (0, 1) for axis in perm]
    t.emit("Pad", op.inputs[:1], op.outputs, pads=pads)


@translates("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def _depth(t: Translator, op: TFLiteOperator) -> None:
    kind = "DepthToSpace" if op.kind == "DEPTH_TO_SPACE" else "SpaceToDepth"
    t.emit(kind, op.inputs, op.outputs, blocksize=op.option(0), mode="DCR")


@translates("SQUARE")
def _square(t: Translator, op: TFLiteOperator) -> None:
    t.emit("Mul", [op.inputs[0], op.inputs[0]], op.outputs)


@translates("SQUARED_DIFFERENCE")
def _squared_difference(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.outputs[0])
    shape = permuted(t.original(op.outputs[0]), t.perm(rank))
    difference = t.fresh(op.outputs[0], "difference", shape)
    t.emit("Sub", [_broadcast(t, name, rank) for name in op.inputs], [difference])
    t.emit("Mul", [difference, difference], op.outputs)


@translates("RSQRT")
def _rsqrt(t: Translator, op: TFLiteOperator) -> None:
    rank = t.rank(op.outputs[0])
    root = t.fresh(op.outputs[0], "sqrt", permuted(t.original(op.outputs[0]), t.perm(rank)))
    t.emit("Sqrt", op.inputs, [root])
    t.emit("Reciprocal", [root], op.outputs)
