"""A small language for quantized networks: seeded int8 weights, QDQ around every operator, as onnxruntime writes it.

Placement, epochs, memory and cycles depend on shapes and zero points, not on weights. The zero points are synthetic:
-128 after ReLU, ReLU6, Sigmoid and Softmax, -118 after Swish, -105 after a leaky ReLU, 3 (near the middle, but not the
fast 0) elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper

from .writer import NodeWriter

__all__ = ["Net", "T"]

ZERO_POINTS = {"relu": -128, "relu6": -128, "sigmoid": -128, "softmax": -128, "swish": -118, "leaky": -105, None: 3}


@dataclass(frozen=True)
class T:
    """A dequantized activation: name, shape [N, C, H, W] or [N, C], and its quantization."""

    name: str
    shape: tuple[int, ...]
    zero_point: int

    @property
    def channels(self) -> int:
        return self.shape[1]


class Net(NodeWriter):
    """Every method takes and returns :class:`T`; opset 13."""

    def __init__(self, name: str, shape: Sequence[int], zero_point: int = -1, seed: int = 0) -> None:
        super().__init__(name, opset=13)
        self.random = np.random.default_rng(seed)
        self.x = self._quantized(self.declare("input", shape), tuple(shape), zero_point)

    def _constant(self, value: np.ndarray) -> str:
        return self.constant(value)

    def _op(self, kind: str, inputs: Sequence[str], **attributes: object) -> str:
        return self.write(kind, inputs, **attributes)[0]

    def _quantized(self, source: str, shape: tuple[int, ...], zero_point: int, scale: float = 0.02) -> T:
        parameters = [self._constant(np.float32(scale)), self._constant(np.int8(zero_point))]
        quantized = self._op("QuantizeLinear", [source, *parameters])
        return T(self._op("DequantizeLinear", [quantized, *parameters]), shape, zero_point)

    def _weights(self, shape: tuple[int, ...]) -> str:
        value = self.random.integers(-127, 128, shape, dtype=np.int8)
        scale = self.random.uniform(0.001, 0.01, shape[0]).astype(np.float32)
        inputs = [self._constant(value), self._constant(scale), self._constant(np.zeros(shape[0], np.int8))]
        return self._op("DequantizeLinear", inputs, axis=0)

    def _bias(self, channels: int) -> str:
        value = self.random.integers(-1000, 1000, channels).astype(np.int32)
        scale = np.full(channels, 2e-4, np.float32)
        inputs = [self._constant(value), self._constant(scale), self._constant(np.zeros(channels, np.int32))]
        return self._op("DequantizeLinear", inputs, axis=0)

    def conv(
        self, x: T, channels: int, kernel: int = 3, stride: int = 1, act: str | None = "relu", *,
        depthwise: bool = False, pad: str | Sequence[int] = "same",
    ) -> T:  # fmt: skip
        """Convolution with bias and activation; ``pad`` "same" splits as TensorFlow does, "torch" as k // 2."""
        pads = self._pads(x, kernel, stride, pad)
        groups = channels if depthwise else 1
        weights = self._weights((channels, x.channels // groups, kernel, kernel))
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": pads, "group": groups}
        out = self._op("Conv", [x.name, weights, self._bias(channels)], **attributes)
        height, width = ((x.shape[2 + i] + pads[i] + pads[2 + i] - kernel) // stride + 1 for i in (0, 1))
        return self._activated(out, (1, channels, height, width), act)

    @staticmethod
    def _pads(x: T, kernel: int, stride: int, pad: str | Sequence[int]) -> list[int]:
        if pad == "torch":
            return [kernel // 2] * 4
        if pad != "same":
            return list(pad)  # type: ignore[arg-type]
        totals = [max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in x.shape[2:]]
        return [total // 2 for total in totals] + [total - total // 2 for total in totals]

    def _activated(self, out: str, shape: tuple[int, ...], act: str | None) -> T:
        if act == "relu":
            out = self._op("Relu", [out])
        elif act == "relu6":
            out = self._op("Clip", [out, self._constant(np.float32(0)), self._constant(np.float32(6))])
        elif act == "leaky":
            out = self._op("LeakyRelu", [self._quantized(out, shape, ZERO_POINTS[None]).name], alpha=0.1)
        elif act == "swish":
            plain = self._quantized(out, shape, ZERO_POINTS[None])
            gate = self.unary("Sigmoid", plain, "sigmoid")
            out = self._op("Mul", [plain.name, gate.name])
        elif act == "sigmoid":
            plain = self._quantized(out, shape, ZERO_POINTS[None])
            out = self._op("Sigmoid", [plain.name])
        return self._quantized(out, shape, ZERO_POINTS[act])

    def dw(self, x: T, stride: int = 1, act: str | None = "relu", kernel: int = 3, pad: str = "same") -> T:
        """Depthwise convolution."""
        return self.conv(x, x.channels, kernel, stride, act, depthwise=True, pad=pad)

    def unary(self, kind: str, x: T, act: str | None = None, **attributes: object) -> T:
        """An operator of one tensor that keeps the shape."""
        return self._quantized(self._op(kind, [x.name], **attributes), x.shape, ZERO_POINTS[act])

    def binary(self, kind: str, x: T, y: T, act: str | None = None) -> T:
        """Add, Mul or Sub of two tensors; the first has the full shape."""
        return self._activated(self._op(kind, [x.name, y.name]), x.shape, act)

    def add(self, x: T, y: T, act: str | None = None) -> T:
        """Residual addition."""
        return self.binary("Add", x, y, act)

    def max_pool(self, x: T, kernel: int, stride: int, pad: int) -> T:
        """Max pooling; keeps the quantization."""
        attributes = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        size = [(n + 2 * pad - kernel) // stride + 1 for n in x.shape[2:]]
        return self._quantized(self._op("MaxPool", [x.name], **attributes), (*x.shape[:2], *size), x.zero_point)

    def global_pool(self, x: T) -> T:
        """Global average pool to 1x1."""
        shape = (*x.shape[:2], 1, 1)
        return self._quantized(self._op("GlobalAveragePool", [x.name]), shape, x.zero_point)

    def dropped_mean(self, x: T) -> T:
        """Global average pool that drops its map and gets it back, as Keras exports squeeze and excitation."""
        return self.reshape(self.reshape(self.global_pool(x), x.shape[:2]), (*x.shape[:2], 1, 1))

    def clip(self, x: T, low: float, high: float) -> T:
        """Clip between two constants."""
        bounds = [self._constant(np.float32(value)) for value in (low, high)]
        return self._quantized(self._op("Clip", [x.name, *bounds]), x.shape, ZERO_POINTS[None])

    def float_mean(self, x: T) -> T:
        """Mean over the map as Keras exports it: ReduceMean and Reshape, left in float by onnxruntime (SEEN r10)."""
        mean = self._op("ReduceMean", [x.name], axes=[2, 3], keepdims=0)
        shape = (*x.shape[:2], 1, 1)
        return self._quantized(
            self._op("Reshape", [mean, self._constant(np.asarray(shape, np.int64))]), shape, x.zero_point
        )

    def float_normalization(self) -> T:
        """A Keras Normalization layer at the input: Sub and Div, which onnxruntime leaves in float."""
        channels = (1, self.x.channels, 1, 1)
        mean, deviation = (self._constant(self.random.uniform(0.2, 0.5, channels).astype(np.float32)) for _ in "ab")
        out = self._op("Div", [self._op("Sub", [self.x.name, mean]), deviation])
        return self._quantized(out, self.x.shape, -1)

    def dense(self, x: T, units: int, act: str | None = None) -> T:
        """Fully connected layer on a flattened tensor."""
        flat = self._quantized(self._op("Flatten", [x.name]), (1, int(np.prod(x.shape[1:]))), x.zero_point)
        weights = self._weights((units, flat.channels))
        out = self._op("Gemm", [flat.name, weights, self._bias(units)], transB=1)
        return self._activated(out, (1, units), act)

    def softmax(self, x: T, axis: int = -1) -> T:
        """Softmax with the fixed scale 1/256."""
        return self._quantized(self._op("Softmax", [x.name], axis=axis), x.shape, -128, 1 / 256)

    def concat(self, parts: Sequence[T], axis: int = 1) -> T:
        """Concatenation; all parts share their quantization in a real model."""
        shape = list(parts[0].shape)
        shape[axis] = sum(part.shape[axis] for part in parts)
        out = self._op("Concat", [part.name for part in parts], axis=axis)
        return self._quantized(out, tuple(shape), parts[0].zero_point)

    def split(self, x: T, axis: int = 1, parts: int = 2) -> list[T]:
        """Equal parts along an axis."""
        shape = list(x.shape)
        shape[axis] //= parts
        sizes = self._constant(np.full(parts, shape[axis], np.int64))
        outputs = self.write("Split", [x.name, sizes], parts, axis=axis)
        return [self._quantized(output, tuple(shape), x.zero_point) for output in outputs]

    def slice(self, x: T, start: int, end: int, axis: int = 1) -> T:
        """A contiguous range of one axis."""
        shape = list(x.shape)
        shape[axis] = end - start
        bounds = [self._constant(np.asarray([value], np.int64)) for value in (start, end, axis)]
        return self._quantized(self._op("Slice", [x.name, *bounds]), tuple(shape), x.zero_point)

    def upsample(self, x: T, mode: str = "nearest") -> T:
        """x2; nearest, asymmetric and floor, is the form with a hardware part, linear has half-pixel centers."""
        scales = self._constant(np.asarray([1, 1, 2, 2], np.float32))
        how = {"coordinate_transformation_mode": "half_pixel" if mode == "linear" else "asymmetric"}
        out = self._op("Resize", [x.name, "", scales], mode=mode, nearest_mode="floor", **how)
        return self._quantized(out, (*x.shape[:2], x.shape[2] * 2, x.shape[3] * 2), x.zero_point)

    def reshape(self, x: T, shape: Sequence[int]) -> T:
        """Static reshape."""
        out = self._op("Reshape", [x.name, self._constant(np.asarray(shape, np.int64))])
        return self._quantized(out, tuple(shape), x.zero_point)

    def transpose(self, x: T, order: Sequence[int]) -> T:
        """Axis permutation."""
        out = self._op("Transpose", [x.name], perm=list(order))
        return self._quantized(out, tuple(x.shape[i] for i in order), x.zero_point)

    def proto(self, *outputs: T) -> onnx.ModelProto:
        """The finished model."""
        return self.finish([helper.make_tensor_value_info(t.name, TensorProto.FLOAT, list(t.shape)) for t in outputs])
