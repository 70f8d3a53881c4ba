"""Quantized graphs made from a description: for tests, benchmarks and experiments with the rules.

Placement, cycles and memory do not depend on the values of weights, so all weights are zeros; scales and zero points
are chosen by the caller. Every tensor gets a Q/DQ pair, as the NPU wants it ([#quantization]).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from .writer import NodeWriter

__all__ = ["QdqBuilder", "attention_encoder", "padded_detector"]


class QdqBuilder(NodeWriter):
    """Writes a QDQ ONNX graph node by node; tensors are named by the caller's handles."""

    def __init__(self, name: str, opset: int = 17, quantized: bool = True) -> None:
        super().__init__(name, opset)
        self.quantized = quantized
        self.outputs: list[onnx.ValueInfoProto] = []

    def weight(self, *shape: int, scale: float = 0.01) -> str:
        """An int8 weight behind a DequantizeLinear (float in a float model)."""
        if not self.quantized:
            return self.constant(np.zeros(shape, np.float32))
        return self._dequantize(np.zeros(shape, np.int8), scale)

    def bias(self, size: int) -> str:
        """An int32 bias."""
        if not self.quantized:
            return self.constant(np.zeros(size, np.float32))
        return self._dequantize(np.zeros(size, np.int32), 0.0001)

    def _dequantize(self, codes: NDArray[Any], scale: float) -> str:
        parameters = self._parameters(scale, 0, codes.dtype.type)
        return self.write("DequantizeLinear", [self.constant(codes), *parameters])[0]

    def _parameters(self, scale: float, zero: int, kind: Any) -> list[str]:
        return [self.constant(scale, np.float32), self.constant(zero, kind)]

    def pair(self, name: str, scale: float = 0.05, zero: int = 3) -> str:
        """A QuantizeLinear and a DequantizeLinear on one edge (nothing in a float model).

        Args:
            name: of the value.
            scale: of its grid.
            zero: its zero point.
        """
        if not self.quantized:
            return name
        parameters = self._parameters(scale, zero, np.int8)
        quantized = self.write("QuantizeLinear", [name, *parameters])[0]
        return self.write("DequantizeLinear", [quantized, *parameters])[0]

    def input(self, *shape: int, name: str = "input", zero: int = 0) -> str:
        """A float graph input with its Q/DQ pair."""
        return self.pair(self.declare(name, shape), zero=zero)

    def op(
        self, kind: str, *inputs: str, scale: float = 0.05, zero: int = 3, pair: bool = True, **attributes: Any
    ) -> str:
        """One operator with one output and, unless ``pair`` is false, a Q/DQ pair behind it.

        Args:
            kind: ONNX operator.
            scale: of the output's grid.
            zero: its zero point.
            pair: False: no Q/DQ pair behind it.
        """
        return self.ops(kind, inputs, 1, scale=scale, zero=zero, pair=pair, **attributes)[0]

    def ops(
        self,
        kind: str,
        inputs: Sequence[str],
        outputs: int,
        *,
        scale: float = 0.05,
        zero: int = 3,
        pair: bool = True,
        **attributes: Any,
    ) -> list[str]:
        """One operator with several outputs.

        Args:
            kind: ONNX operator.
            inputs: names of values.
            outputs: how many.
            scale: of the outputs' grids.
            zero: their zero point.
            pair: False: no Q/DQ pairs behind it.
        """
        names = self.write(kind, inputs, outputs, **attributes)
        return [self.pair(name, scale, zero) for name in names] if pair else names

    def reshape(self, x: str, *shape: int) -> str:
        """A Reshape that keeps the scale."""
        return self.op("Reshape", x, self.constant(shape, np.int64))

    def conv(
        self, x: str, channels: int, out: int, kernel: int = 1, stride: int = 1, group: int = 1, zero: int = 3
    ) -> str:
        """A convolution with bias and "same" padding.

        Args:
            x: name of [1, channels, h, w].
            channels: of the input.
            out: channels of the result.
            kernel: height and width.
            stride: of rows and columns.
            group: groups of channels.
            zero: zero point of the result.
        """
        weights = self.weight(out, channels // group, kernel, kernel)
        pads = [kernel // 2] * 4
        return self.op(
            "Conv",
            x,
            weights,
            self.bias(out),
            zero=zero,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=pads,
            group=group,
        )

    def linear(self, x: str, inputs: int, outputs: int, zero: int = 3) -> str:
        """MatMul with constant weights and a bias that is added separately.

        Args:
            x: name of [.., inputs].
            inputs: columns.
            outputs: columns of the result.
            zero: zero point of the result.
        """
        y = self.op("MatMul", x, self.weight(inputs, outputs))
        return self.op("Add", y, self.weight(outputs), zero=zero)

    def output(self, name: str) -> None:
        """Declare a graph output."""
        self.outputs.append(helper.make_empty_tensor_value_info(name))

    def model(self) -> onnx.ModelProto:
        """The finished model."""
        return self.finish(self.outputs)


def attention_encoder(
    layers: int,
    length: int,
    width: int,
    heads: int,
    hidden: int,
    vocabulary: int = 0,
    quantized: bool = True,
) -> onnx.ModelProto:
    """A post-norm transformer encoder with decomposed LayerNorm, as TensorFlow exports it (the structure of r15).

    Input [1, length, width] embeddings; output the last hidden state, or [1, length, vocabulary] when it is given.

    Args:
        layers: how many.
        length: tokens.
        width: channels of the hidden states.
        heads: of attention.
        hidden: channels of the feed-forward part.
        vocabulary: outputs a token; 0: the hidden states leave the graph.
        quantized: with Q/DQ pairs.
    """
    b = QdqBuilder(f"encoder_{layers}x{width}", quantized=quantized)
    x = b.input(1, length, width)
    x = b.op("Mul", x, b.weight(1, scale=0.1))
    x = b.op("Add", x, b.weight(1, length, width))
    for _ in range(layers):
        x = _layer_norm(b, b.op("Add", x, _attention(b, x, length, width, heads)), width)
        y = b.op("Relu", _row_linear(b, x, length, width, hidden, pair=False), zero=-128)
        x = _layer_norm(b, b.op("Add", x, _row_linear(b, y, length, hidden, width)), width)
    b.output(_row_linear(b, x, length, width, vocabulary) if vocabulary else x)
    return b.model()


def _row_linear(b: QdqBuilder, x: str, length: int, inputs: int, outputs: int, pair: bool = True) -> str:
    y = b.op("Gemm", b.reshape(x, length, inputs), b.weight(outputs, inputs), transB=1)
    return b.op("Add", b.reshape(y, 1, length, outputs), b.weight(outputs), pair=pair)


def _attention(b: QdqBuilder, x: str, length: int, width: int, heads: int) -> str:
    depth = width // heads
    rows = b.reshape(x, length, width)
    parts = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        y = b.op("Gemm", rows, b.weight(width, width), transB=1)
        y = b.op("Add", b.reshape(y, 1, length, width), b.weight(width))
        parts.append(b.op("Transpose", b.reshape(y, 1, length, heads, depth), perm=perm))
    query, key, value = parts
    scores = b.op("Mul", b.op("MatMul", query, key), b.weight(1, scale=0.1))
    context = b.op("MatMul", b.op("Softmax", scores, axis=-1, scale=1 / 256, zero=-128), value)
    joined = b.reshape(b.op("Transpose", context, perm=[0, 2, 1, 3]), length, width)
    y = b.op("Gemm", joined, b.weight(width, width), transB=1)
    return b.op("Add", b.reshape(y, 1, length, width), b.weight(width))


def _layer_norm(b: QdqBuilder, x: str, width: int) -> str:
    mean = b.op("ReduceMean", x, axes=[2], keepdims=1)
    centered = b.op("Sub", x, mean)
    square = b.op("Mul", centered, centered, zero=-128)
    variance = b.op("ReduceMean", square, axes=[2], keepdims=1, zero=-128)
    root = b.op("Sqrt", b.op("Add", variance, b.weight(1), zero=-128), zero=-128)
    gain = b.op("Mul", b.op("Reciprocal", root, zero=-128), b.weight(width))
    shift = b.op("Sub", b.weight(width), b.op("Mul", mean, gain))
    return b.op("Add", b.op("Mul", x, gain), shift)


def padded_detector() -> onnx.ModelProto:
    """A face detector of depthwise blocks whose shortcuts are padded in channels (the one of r56, from its layers)."""
    b = QdqBuilder("padded_detector", opset=18)
    x = b.input(1, 3, 128, 128, zero=-128)
    x = _same_conv(b, x, 3, 24, 5, stride=2, zero=-128)
    channels = 24
    for out in (24, 28, 32, 36, 42, 48, 56, 64, 72, 80, 88):
        stride = 2 if out in (32, 48) else 1
        x, channels = _padded_block(b, x, channels, out, stride), out
    heads = [(x, 88, 2, 1), (x, 88, 32, 16)]
    for _ in range(5):
        x, channels = _padded_block(b, x, channels, 96, 1 if channels == 96 else 2), 96
    for source, width, out, size in (*heads, (x, 96, 6, 1), (x, 96, 96, 16)):
        y = b.op("Transpose", b.conv(source, width, out), perm=[0, 2, 3, 1])
        b.output(b.reshape(y, 1, -1, size))
    return b.model()


def _same_conv(
    b: QdqBuilder, x: str, channels: int, out: int, kernel: int, stride: int = 1, group: int = 1, zero: int = 3
) -> str:
    """A convolution with TensorFlow's "same" padding on an even map."""
    before = (kernel - stride) // 2
    pads = [before, before, kernel - stride - before, kernel - stride - before]
    weights = b.weight(out, channels // group, kernel, kernel)
    shape: dict[str, Any] = {"kernel_shape": [kernel, kernel], "strides": [stride, stride], "pads": pads}
    return b.op("Conv", x, weights, b.bias(out), zero=zero, group=group, **shape)


def _padded_block(b: QdqBuilder, x: str, channels: int, out: int, stride: int) -> str:
    y = _same_conv(b, x, channels, channels, 3, stride, channels)
    y = b.conv(y, channels, out)
    if stride == 2:
        x = b.op("MaxPool", x, zero=-128, kernel_shape=[2, 2], strides=[2, 2])
    if out != channels:
        amounts = np.array([0, 0, 0, 0, 0, out - channels, 0, 0])
        x = b.op("Pad", x, b.constant(amounts), zero=-128)
    return b.op("Relu", b.op("Add", y, x, pair=False), zero=-128)
