"""Float networks on sensor and sound signals, drawn from seeds with the statistics that training leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .writer import NodeWriter

__all__ = ["SIGNALS", "encoder", "log_mel", "power_law", "temporal_convolutions"]

Array = NDArray[np.float32]
_STEPS, _WINDOW, _HOP, _CLASSES = 32, 64, 16, 6
_SAMPLES = _HOP * (_STEPS - 1) + _WINDOW


class _Net(NodeWriter):
    """Every method returns the name of a tensor."""

    def __init__(self, seed: int) -> None:
        super().__init__("signals")
        self.rng = np.random.default_rng(seed)

    def constant(self, array: Any, dtype: type | None = np.float32, name: str | None = None) -> str:
        return super().constant(array, dtype, name)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.write(kind, inputs, **attributes)[0]

    def conv(self, x: str, channels: int, out: int, kernel: int = 3, **attributes: Any) -> str:
        """Heavy-tailed weights of one norm a channel, channels of log-normal size."""
        weight = self.rng.standard_t(6, (out, channels, kernel))
        weight *= self.rng.lognormal(0, 0.3, (out, 1, 1)) / np.sqrt((weight**2).sum((1, 2), keepdims=True))
        return self.op("Conv", x, self.constant(weight), self.constant(self.rng.normal(0, 0.1, out)), **attributes)

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        weight = self.rng.standard_t(6, (inputs, outputs)) / np.sqrt(inputs) * self.rng.lognormal(0, 0.4, outputs)
        return self.op(
            "Add", self.op("MatMul", x, self.constant(weight)), self.constant(self.rng.normal(0, 0.2, outputs))
        )

    def norm(self, x: str, width: int) -> str:
        scale, shift = self.rng.lognormal(0, 0.5, width), self.rng.normal(0, 0.2, width)
        return self.op("LayerNormalization", x, self.constant(scale), self.constant(shift), axis=-1)

    def classes(self, x: str, width: int, axis: int) -> str:
        pooled = self.op("ReduceMean", x, axes=[axis], keepdims=0)
        weight = self.rng.normal(0, 1 / np.sqrt(width), (_CLASSES, width))
        return self.op("Gemm", pooled, self.constant(weight), self.constant(np.zeros(_CLASSES)), transB=1)

    def spectrum(self, wave: str, bins: int) -> tuple[str, str]:
        """Real and imaginary part of a short-time Fourier transform, as convolutions."""
        turns = np.arange(bins)[:, None] * np.arange(_WINDOW) * np.pi / _WINDOW
        window = np.hanning(_WINDOW)
        parts = (self.constant((f(turns) * window)[:, None]) for f in (np.cos, np.sin))
        real, imaginary = (self.op("Conv", wave, part, strides=[_HOP]) for part in parts)
        return real, imaginary

    def listener(self, x: str, channels: int) -> str:
        for inputs in (channels, 16):
            x = self.op("Relu", self.conv(x, inputs, 16, pads=[1, 1]))
        return self.classes(x, 16, 2)

    def model(self, shape: list[int], output: str) -> onnx.ModelProto:
        self.declare("x", shape)
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, _CLASSES])
        return onnx.shape_inference.infer_shapes(self.finish([y]))


def temporal_convolutions(width: int = 32, levels: int = 5, steps: int = 128, seed: int = 0) -> onnx.ModelProto:
    """Residual blocks of two causal convolutions (Bai et al. 2018), each level dilated twice as far."""
    net, x, channels = _Net(seed), "x", 6
    for level in range(levels):
        y, inputs = x, channels
        for _ in range(2):
            pads = net.constant([0, 0, 2 << level, 0, 0, 0], np.int64)
            y = net.op("Relu", net.conv(net.op("Pad", y, pads), inputs, width, dilations=[1 << level]))
            inputs = width
        rest = x if channels == width else net.conv(x, channels, width, 1)
        x, channels = net.op("Relu", net.op("Add", y, rest)), width
    return net.model([1, 6, steps], net.classes(x, width, 2))


def encoder(width: int = 16, heads: int = 2, depth: int = 2, seed: int = 0) -> onnx.ModelProto:
    """A small Transformer with the normalization in front, on 32 steps of 8 sensors."""
    net = _Net(seed)
    x = net.op("Add", net.linear("x", 8, width), net.constant(net.rng.normal(0, 0.5, (1, _STEPS, width))))
    split, joined = ([1, _STEPS, heads, width // heads], [1, _STEPS, width])
    for _ in range(depth):
        n = net.norm(x, width)
        parts = [net.op("Reshape", net.linear(n, width, width), net.constant(split, np.int64)) for _ in range(3)]
        q, v = (net.op("Transpose", parts[i], perm=[0, 2, 1, 3]) for i in (0, 2))
        k = net.op("Transpose", parts[1], perm=[0, 2, 3, 1])
        scores = net.op("Mul", net.op("MatMul", q, k), net.constant(np.sqrt(heads / width)))
        mixed = net.op("Transpose", net.op("MatMul", net.op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        mixed = net.op("Reshape", mixed, net.constant(joined, np.int64))
        x = net.op("Add", x, net.linear(mixed, width, width))
        hidden = net.op("Relu", net.linear(net.norm(x, width), width, 4 * width))
        x = net.op("Add", x, net.linear(hidden, 4 * width, width))
    return net.model([1, _STEPS, 8], net.classes(net.norm(x, width), width, 1))


def power_law(bins: int = 64, power: float = 0.3, seed: int = 0) -> onnx.ModelProto:
    """``|spectrum|^0.3`` of a wave, then convolutions."""
    net = _Net(seed)
    loud = net.op("Pow", net.op("Abs", net.spectrum("x", bins)[0]), net.constant(power))
    return net.model([1, 1, _SAMPLES], net.listener(loud, bins))


def log_mel(bins: int = 64, bands: int = 20, seed: int = 0) -> onnx.ModelProto:
    """The logarithm of a wave's power in triangular bands, then convolutions."""
    net = _Net(seed)
    energy = [net.op("Mul", part, part) for part in net.spectrum("x", bins)]
    centers, bin_ = np.linspace(0, 1, bands + 2)[:, None] ** 1.5 * (bins - 1), np.arange(bins)
    up = (bin_ - centers[:-2]) / np.maximum(centers[1:-1] - centers[:-2], 1)
    down = (centers[2:] - bin_) / np.maximum(centers[2:] - centers[1:-1], 1)
    filters = np.clip(np.minimum(up, down), 1e-6, None)[:, :, None]
    power = net.op("Conv", net.op("Add", *energy), net.constant(filters))
    loud = net.op("Log", net.op("Add", power, net.constant(1e-3)))
    return net.model([1, 1, _SAMPLES], net.listener(net.op("Mul", loud, net.constant(0.3)), bands))


def _sensors(channels: int, steps: int, turned: bool, seed: int) -> Iterator[Array]:
    rng = np.random.default_rng(seed)
    while True:
        rate, size = rng.uniform(0.5, 5, (channels, 1)), rng.lognormal(0, 0.5, (channels, 1))
        wave = size * np.sin(2 * np.pi * rate * np.arange(steps) / 50 + rng.uniform(0, 6, (channels, 1)))
        wave += 0.2 * rng.standard_normal(wave.shape) + (np.arange(channels) == 2)[:, None]
        yield (wave.T if turned else wave)[None].astype(np.float32)


def _sounds(seed: int) -> Iterator[Array]:
    rng, time = np.random.default_rng(seed), np.arange(_SAMPLES)
    while True:
        wave = 0.003 * rng.standard_normal(_SAMPLES)
        for _ in range(4):
            around = np.exp(-(((time - rng.uniform(0, _SAMPLES)) / rng.uniform(40, 200)) ** 2))
            wave += rng.lognormal(-1, 0.7) * around * np.sin(2 * np.pi * rng.uniform(0.01, 0.4) * time)
        yield np.clip(wave, -1.5, 1.5)[None, None].astype(np.float32)


#: name -> builder, and an endless source of inputs from a seed
SIGNALS: dict[str, tuple[Callable[[], onnx.ModelProto], Callable[[int], Iterator[Array]]]] = {
    "temporal-convs": (temporal_convolutions, lambda seed: _sensors(6, 128, False, seed)),
    "encoder-16": (encoder, lambda seed: _sensors(8, _STEPS, True, seed)),
    "power-law": (power_law, _sounds),
    "log-mel": (log_mel, _sounds),
}
