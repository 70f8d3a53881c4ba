"""Layers of TFLite as ONNX: convolutions, pools, products, resizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.importers.tflite_builder import Builder, Unknown, reads
from n6convert.npu.tflite_file import TFLiteOperator

__all__: list[str] = []

_SAME = 0


@reads("CONV_2D", "DEPTHWISE_CONV_2D")
def _conv(b: Builder, op: TFLiteOperator) -> None:
    x, weights, *bias = op.inputs
    depthwise = op.kind == "DEPTHWISE_CONV_2D"
    kernel = b.shape(weights)[1:3]
    strides = (op.option(2, default=1), op.option(1, default=1))
    at = 5 if depthwise else 4
    dilations = (op.option(at + 1, default=1), op.option(at, default=1))
    order = (3, 0, 1, 2) if depthwise else (0, 3, 1, 2)
    group = b.shape(x)[3] if depthwise else b.shape(x)[3] // b.shape(weights)[3]
    w = b.constant(b.data(weights).transpose(order))
    value = b.op(
        "Conv", [b.value(x), w, *_biases(b, bias)], kernel_shape=kernel, strides=strides, dilations=dilations,
        group=group, pads=_pads(b, op, x, kernel, strides, dilations),
    )  # fmt: skip
    b.put(op.outputs[0], value, op.option(4 if depthwise else 3, "i8"))


def _biases(b: Builder, names: list[str]) -> list[ir.Value]:
    return [b.value(name) for name in names if name]


def _pads(
    b: Builder,
    op: TFLiteOperator,
    x: str,
    kernel: tuple[int, ...],
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> list[int]:
    """TensorFlow's SAME puts the odd pixel below and right; VALID has none."""
    if op.option(0, "i8") != _SAME:
        return [0, 0, 0, 0]
    begin, end = [], []
    for axis in (0, 1):
        size = b.shape(x)[axis + 1]
        span = (kernel[axis] - 1) * dilations[axis] + 1
        total = max((-(-size // strides[axis]) - 1) * strides[axis] + span - size, 0)
        begin.append(total // 2)
        end.append(total - total // 2)
    return begin + end


@reads("TRANSPOSE_CONV")
def _conv_transpose(b: Builder, op: TFLiteOperator) -> None:
    weights, x, *bias = op.inputs[1:]
    strides = (op.option(2, default=1), op.option(1, default=1))
    value = _transposed(b, [x, weights, *bias], op.outputs[0], strides, op.option(0, "i8") == _SAME)
    b.put(op.outputs[0], value, op.option(3, "i8"))


@reads("Convolution2DTransposeBias")
def _conv_transpose_of_mediapipe(b: Builder, op: TFLiteOperator) -> None:
    """MediaPipe's operator from before TFLite's own had a bias: its options are a C structure of three int32, padding
    (1: SAME), horizontal and vertical stride."""
    if len(op.custom) != 12:
        raise Unknown("the options of Convolution2DTransposeBias have another size", place=op.outputs[0])
    same, across, down = np.frombuffer(op.custom, "<i4").tolist()
    b.put(op.outputs[0], _transposed(b, op.inputs, op.outputs[0], (down, across), same == 1))


def _transposed(b: Builder, inputs: Sequence[str], result: str, strides: tuple[int, int], same: bool) -> ir.Value:
    """The gradient of a convolution: SAME cuts what the forward convolution would have padded."""
    x, weights, *bias = inputs
    kernel = b.shape(weights)[1:3]
    out, cut = b.shape(result)[1:3], [0, 0, 0, 0]
    more = [0, 0]
    for axis in (0, 1):
        full = (b.shape(x)[axis + 1] - 1) * strides[axis] + kernel[axis]
        excess = full - out[axis]
        more[axis] = max(0, -excess)
        if same:
            cut[axis], cut[axis + 2] = max(0, excess) // 2, max(0, excess) - max(0, excess) // 2
        else:
            cut[axis + 2] = max(0, excess)
    w = b.constant(b.data(weights).transpose(3, 0, 1, 2))
    return b.op(
        "ConvTranspose", [b.value(x), w, *_biases(b, bias)], kernel_shape=kernel, strides=strides, pads=cut,
        output_padding=more,
    )  # fmt: skip


@reads("AVERAGE_POOL_2D", "MAX_POOL_2D")
def _pool(b: Builder, op: TFLiteOperator) -> None:
    x = op.inputs[0]
    strides, kernel = (
        (op.option(2, default=1), op.option(1, default=1)),
        (op.option(4, default=1), op.option(3, default=1)),
    )
    kind = "MaxPool" if op.kind == "MAX_POOL_2D" else "AveragePool"
    pads = _pads(b, op, x, kernel, strides, (1, 1))
    b.put(op.outputs[0], b.op(kind, [b.value(x)], kernel_shape=kernel, strides=strides, pads=pads), op.option(5, "i8"))


@reads("FULLY_CONNECTED")
def _gemm(b: Builder, op: TFLiteOperator) -> None:
    x, weights, *bias = op.inputs
    if op.option(1, "i8"):
        raise Unknown("shuffled weights are not read", place=weights)
    rows = b.plain(x)
    if b.rank(x) != 2 or b.shape(x)[1] != b.shape(weights)[1]:
        rows = b.op("Reshape", [rows, b.integers((-1, b.shape(weights)[1]))])
    if b.is_constant(weights):
        w, transposed = b.constant(b.data(weights)), 1
    else:
        w, transposed = b.plain(weights), 1
    biases = [b.plain(name) for name in bias if name]
    value = b.op("Gemm", [rows, w, *biases], transB=transposed)
    out = op.outputs[0]
    if b.rank(out) != 2:
        value = b.op("Reshape", [value, b.integers(b.shape(out))])
    b.put_plain(out, value, op.option(0, "i8"))


@reads("BATCH_MATMUL")
def _matmul(b: Builder, op: TFLiteOperator) -> None:
    operands = []
    for index, name in enumerate(op.inputs):
        value, rank = b.plain(name), b.rank(name)
        if op.options is not None and op.options.flag(index):
            value = b.op("Transpose", [value], perm=[*range(rank - 2), rank - 1, rank - 2])
        operands.append(value)
    b.put_plain(op.outputs[0], b.op("MatMul", operands))


@reads("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR")
def _resize(b: Builder, op: TFLiteOperator) -> None:
    """Sizes as factors where these are exact, so that the graph can be given another input size."""
    nearest = op.kind == "RESIZE_NEAREST_NEIGHBOR"
    corners, centers = (op.options is not None and op.options.flag(i) for i in ((0, 1) if nearest else (2, 3)))
    mode = "align_corners" if corners else "half_pixel" if centers else "asymmetric"
    x, out = b.shape(op.inputs[0]), b.shape(op.outputs[0])
    factors = np.array([1, 1, *(np.float32(new) / np.float32(old) for new, old in zip(out[1:3], x[1:3], strict=True))])
    scaled = [int(float(np.float32(f)) * old) for f, old in zip(factors[2:], x[1:3], strict=True)]
    exact = scaled == list(out[1:3])
    sizes = [None, b.constant(factors.astype(np.float32))] if exact else [None, None, _sizes(b, out)]
    mode, rounding = _nearest(mode, factors) if nearest else (mode, "floor")
    value = b.op(
        "Resize", [b.value(op.inputs[0]), *sizes], mode="nearest" if nearest else "linear",
        coordinate_transformation_mode=mode, nearest_mode=rounding,
    )  # fmt: skip
    b.put(op.outputs[0], value)


def _sizes(b: Builder, out: tuple[int, ...]) -> ir.Value:
    return b.integers((out[0], out[3], out[1], out[2]))


def _nearest(mode: str, factors: NDArray[Any]) -> tuple[str, str]:
    """Where a neighbor is looked for, and how it is rounded.

    TFLite takes floor((i + 1/2) / f) with half-pixel centers: half up, or floor(i / f) where f is whole.
    """
    whole = all(float(f).is_integer() for f in factors)
    if mode == "half_pixel":
        return ("asymmetric", "floor") if whole else (mode, "round_prefer_ceil")
    return mode, "round_prefer_ceil" if mode == "align_corners" else "floor"


@reads("SOFTMAX")
def _softmax(b: Builder, op: TFLiteOperator) -> None:
    x, rank = op.inputs[0], b.rank(op.inputs[0])
    value, beta = b.value(x), op.real(0)
    if beta != 1:
        value = b.op("Mul", [value, b.constant(np.float32(beta))])
    b.put(op.outputs[0], b.op("Softmax", [value], axis=b.axis(rank - 1, rank)))


@reads("L2_NORMALIZATION")
def _l2(b: Builder, op: TFLiteOperator) -> None:
    x, rank = op.inputs[0], b.rank(op.inputs[0])
    value = b.op("LpNormalization", [b.value(x)], axis=b.axis(rank - 1, rank), p=2)
    b.put(op.outputs[0], value, op.option(0, "i8"))


@reads("DEPTH_TO_SPACE", "SPACE_TO_DEPTH")
def _depth(b: Builder, op: TFLiteOperator) -> None:
    if op.kind == "DEPTH_TO_SPACE":
        value = b.op("DepthToSpace", [b.value(op.inputs[0])], blocksize=op.option(0), mode="DCR")
    else:
        value = b.op("SpaceToDepth", [b.value(op.inputs[0])], blocksize=op.option(0))
    b.put(op.outputs[0], value)
