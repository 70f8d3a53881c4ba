"""Element-wise operators and reductions of TFLite as ONNX."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.importers.tflite_builder import Builder, Unknown, reads
from n6convert.npu.tflite_file import TFLiteOperator

__all__: list[str] = []

_UNARY = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "ELU": "Elu", "EXP": "Exp", "FLOOR": "Floor", "HARD_SWISH": "HardSwish",
    "LOG": "Log", "LOGICAL_NOT": "Not", "LOGISTIC": "Sigmoid", "NEG": "Neg", "RELU": "Relu", "ROUND": "Round",
    "SIGN": "Sign", "SIN": "Sin", "SQRT": "Sqrt", "TANH": "Tanh",
}  # fmt: skip
_BOUNDS = {"RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0), "RELU_0_TO_1": (0.0, 1.0)}
_BINARY = {
    "ADD": "Add", "DIV": "Div", "EQUAL": "Equal", "GREATER": "Greater", "GREATER_EQUAL": "GreaterOrEqual",
    "LESS": "Less", "LESS_EQUAL": "LessOrEqual", "LOGICAL_AND": "And", "LOGICAL_OR": "Or", "MAXIMUM": "Max",
    "MINIMUM": "Min", "MUL": "Mul", "POW": "Pow", "PRELU": "PRelu", "SUB": "Sub",
}  # fmt: skip
_FUSED = {"ADD", "DIV", "MUL", "SUB"}
_REDUCE = {"MEAN": "ReduceMean", "REDUCE_MAX": "ReduceMax", "REDUCE_MIN": "ReduceMin", "REDUCE_PROD": "ReduceProd"}
_TYPES = {
    "float32": ir.DataType.FLOAT, "int32": ir.DataType.INT32, "int64": ir.DataType.INT64, "bool": ir.DataType.BOOL,
    "int8": ir.DataType.INT8, "uint8": ir.DataType.UINT8, "int16": ir.DataType.INT16, "float16": ir.DataType.FLOAT16,
}  # fmt: skip


@reads(*_UNARY)
def _unary(b: Builder, op: TFLiteOperator) -> None:
    b.put(op.outputs[0], b.op(_UNARY[op.kind], [b.value(op.inputs[0])]))


@reads(*_BOUNDS)
def _bounded(b: Builder, op: TFLiteOperator) -> None:
    b.put(op.outputs[0], b.clipped(b.value(op.inputs[0]), *_BOUNDS[op.kind]))


@reads("LEAKY_RELU")
def _leaky(b: Builder, op: TFLiteOperator) -> None:
    b.put(op.outputs[0], b.op("LeakyRelu", [b.value(op.inputs[0])], alpha=op.real(0)))


@reads("QUANTIZE", "DEQUANTIZE")
def _regrid(b: Builder, op: TFLiteOperator) -> None:
    """The number stays; its grid is dropped. Constants stay constants: weights are stored as float16 this way."""
    x, out = op.inputs[0], op.outputs[0]
    if b.is_constant(x):
        b.file.values[out] = b.data(x)
    else:
        b.put(out, b.value(x))


@reads("CAST")
def _cast(b: Builder, op: TFLiteOperator) -> None:
    b.put(op.outputs[0], b.op("Cast", [b.value(op.inputs[0])], to=_type(b, op.outputs[0])))


def _type(b: Builder, name: str) -> ir.DataType:
    return _TYPES[b.file.tensors[name].dtype]


@reads("RSQRT")
def _rsqrt(b: Builder, op: TFLiteOperator) -> None:
    b.put(op.outputs[0], b.op("Reciprocal", [b.op("Sqrt", [b.value(op.inputs[0])])]))


@reads("SQUARE")
def _square(b: Builder, op: TFLiteOperator) -> None:
    x = b.value(op.inputs[0])
    b.put(op.outputs[0], b.op("Mul", [x, x]))


@reads("GELU")
def _gelu(b: Builder, op: TFLiteOperator) -> None:
    """x/2 (1 + erf(x / sqrt 2)), or with the tanh that stands for it where the file says ``approximate``."""
    x = b.value(op.inputs[0])
    if op.options is not None and op.options.flag(0):
        cube = b.op("Mul", [b.op("Mul", [x, x]), x])
        inner = b.op("Add", [x, b.op("Mul", [cube, b.constant(np.float32(0.044715))])])
        step = b.op("Tanh", [b.op("Mul", [inner, b.constant(np.float32(np.sqrt(2 / np.pi)))])])
    else:
        step = b.op("Erf", [b.op("Div", [x, b.constant(np.float32(np.sqrt(2)))])])
    product = b.op("Mul", [x, b.op("Add", [step, b.constant(np.float32(1))])])
    b.put(op.outputs[0], b.op("Mul", [product, b.constant(np.float32(0.5))]))


@reads("LOG_SOFTMAX")
def _log_softmax(b: Builder, op: TFLiteOperator) -> None:
    rank = b.rank(op.outputs[0])
    b.put(op.outputs[0], b.op("LogSoftmax", [b.value(op.inputs[0])], axis=b.axis(-1, rank)))


@reads("CUMSUM")
def _cumsum(b: Builder, op: TFLiteOperator) -> None:
    x, rank = op.inputs[0], b.rank(op.outputs[0])
    flags = [int(op.options.flag(i)) if op.options is not None else 0 for i in range(2)]
    axis = b.integers([b.axis(b.ints(op.inputs[1])[0], rank)])
    b.put(op.outputs[0], b.op("CumSum", [b.value(x), axis], exclusive=flags[0], reverse=flags[1]))


@reads("ADD_N")
def _add_all(b: Builder, op: TFLiteOperator) -> None:
    b.put(op.outputs[0], b.op("Sum", [b.value(x) for x in op.inputs]))


@reads(*_BINARY)
def _binary(b: Builder, op: TFLiteOperator) -> None:
    value = b.op(_BINARY[op.kind], _operands(b, op))
    b.put(op.outputs[0], value, op.option(0, "i8") if op.kind in _FUSED else 0)


def _operands(b: Builder, op: TFLiteOperator) -> list[ir.Value]:
    rank = b.rank(op.outputs[0])
    return [b.aligned(name, rank) for name in op.inputs]


@reads("NOT_EQUAL")
def _not_equal(b: Builder, op: TFLiteOperator) -> None:
    b.put(op.outputs[0], b.op("Not", [b.op("Equal", _operands(b, op))]))


@reads("SELECT", "SELECT_V2")
def _select(b: Builder, op: TFLiteOperator) -> None:
    condition, one = (b.shape(name) for name in op.inputs[:2])
    if op.kind == "SELECT" and len(condition) == 1 and condition != one:
        raise Unknown("a choice of whole rows is not read", place=op.outputs[0])
    b.put(op.outputs[0], b.op("Where", _operands(b, op)))


@reads("SQUARED_DIFFERENCE")
def _squared_difference(b: Builder, op: TFLiteOperator) -> None:
    difference = b.op("Sub", _operands(b, op))
    b.put(op.outputs[0], b.op("Mul", [difference, difference]))


@reads("FLOOR_DIV")
def _floor_div(b: Builder, op: TFLiteOperator) -> None:
    """Division rounded down; integers in double precision, which holds all of int32."""
    wide = [b.op("Cast", [x], to=ir.DataType.DOUBLE) for x in _operands(b, op)]
    floor = b.op("Floor", [b.op("Div", wide)])
    b.put(op.outputs[0], b.op("Cast", [floor], to=_type(b, op.outputs[0])))


@reads("FLOOR_MOD")
def _floor_mod(b: Builder, op: TFLiteOperator) -> None:
    """x - floor(x / y) y, in double precision."""
    x, y = (b.op("Cast", [v], to=ir.DataType.DOUBLE) for v in _operands(b, op))
    rest = b.op("Sub", [x, b.op("Mul", [b.op("Floor", [b.op("Div", [x, y])]), y])])
    b.put(op.outputs[0], b.op("Cast", [rest], to=_type(b, op.outputs[0])))


@reads(*_REDUCE, "SUM")
def _reduce(b: Builder, op: TFLiteOperator) -> None:
    x, out = op.inputs[0], op.outputs[0]
    rank, kept = b.rank(x), op.options is not None and op.options.flag(0)
    axes = sorted({b.axis(a, rank) for a in b.ints(op.inputs[1])})
    if op.kind == "SUM":
        value = b.op("ReduceSum", [b.value(x), b.integers(axes)], keepdims=1)
    else:
        value = b.op(_REDUCE[op.kind], [b.value(x)], axes=axes, keepdims=1)
    if kept or not b.shape(out):
        b.put(out, value if kept else b.op("Reshape", [value, b.integers(())]))
        return
    rest = [axis for axis in b.perm(rank) if b.perm(rank).index(axis) not in axes]
    reshaped = b.op("Reshape", [value, b.integers([b.shape(x)[axis] for axis in rest])])
    order = tuple(int(place) for place in np.argsort(rest))
    b.put_plain(out, reshaped if order == tuple(range(len(rest))) else b.op("Transpose", [reshaped], perm=list(order)))


@reads("ARG_MAX", "ARG_MIN")
def _arg(b: Builder, op: TFLiteOperator) -> None:
    kind = "ArgMax" if op.kind == "ARG_MAX" else "ArgMin"
    (axis,) = b.ints(op.inputs[1])
    value = b.op(kind, [b.plain(op.inputs[0])], axis=axis, keepdims=0)
    if _type(b, op.outputs[0]) != ir.DataType.INT64:
        value = b.op("Cast", [value], to=_type(b, op.outputs[0]))
    b.put_plain(op.outputs[0], value)
