"""Float networks with the weight statistics that training leaves behind and that make 8 bits hard.

Nothing is downloaded: weights are drawn from a seed. Channels have log-normal scales, normalizations carry offsets, a
few channels are outliers. Each operator runs as it is added, so that every BatchNormalization holds the true mean and
variance of what reaches it and activations stay in the range of trained networks at any depth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from .writer import NodeWriter

__all__ = ["CASES", "images", "mobilenet_v3_small", "mobilevit_xxs", "vit_tiny"]

Array = NDArray[np.float32]


def images(count: int, size: int, seed: int = 0) -> list[Array]:
    """Smooth noise with the 1/f spectrum of photographs, of different contrast, ``[1, 3, size, size]``, about -2..2."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size)[None]) + 1 / size
    found = []
    for _ in range(count):
        spectrum = np.fft.fft2(rng.standard_normal((3, size, size)) + rng.standard_normal((1, size, size))) / frequency
        picture = np.fft.ifft2(spectrum).real
        picture *= rng.uniform(0.4, 1.2) / picture.std()
        found.append(np.clip(picture, -2.2, 2.6).astype(np.float32)[None])
    return found


@dataclass(frozen=True)
class T:
    """A tensor: its name and its values on the images the network is built with."""

    name: str
    values: Array

    @property
    def channels(self) -> int:
        return int(self.values.shape[1])


class FloatNet(NodeWriter):
    """Runs each node as it is written."""

    def __init__(self, size: int, seed: int, spread: float = 0.5) -> None:
        super().__init__("trained_like")
        self.rng = np.random.default_rng(seed)
        self.spread = spread
        self.x = T("image", np.concatenate(images(4, size, seed + 1000)))

    def op(self, kind: str, *inputs: T | NDArray[Any], **attributes: Any) -> T:
        """Add an operator; arrays become initializers."""
        name = f"{kind.lower()}_{len(self.nodes)}"
        inputs = tuple(i if isinstance(i, T) else np.asarray(i) for i in inputs)
        names = [i.name if isinstance(i, T) else self.constant(i, name=f"{name}_c{k}") for k, i in enumerate(inputs)]
        self.write(kind, names, **attributes)
        return T(name, self._run(self.nodes[-1], inputs))

    def _run(self, node: onnx.NodeProto, inputs: Sequence[T | NDArray[Any]]) -> Array:
        arrays = dict(zip(node.input, (i.values if isinstance(i, T) else i for i in inputs), strict=True))
        kinds = {n: helper.np_dtype_to_tensor_dtype(a.dtype) for n, a in arrays.items()}
        infos = [helper.make_tensor_value_info(n, kinds[n], a.shape) for n, a in arrays.items()]
        output = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
        alone = NodeWriter("operator")
        alone.nodes, alone.inputs = [node], infos
        model = alone.finish([output])
        result: Array = ort.InferenceSession(model.SerializeToString()).run(None, arrays)[0]
        return result

    def scales(self, count: int, outliers: int = 0, size: float = 5.0) -> Array:
        """Log-normal channel scales, a few of them much larger."""
        found = self.rng.lognormal(0, self.spread, count)
        found[self.rng.permutation(count)[:outliers]] *= size
        return found.astype(np.float32)

    def weight(self, *shape: int) -> Array:
        draw = self.rng.standard_t(6, shape) / np.sqrt(np.prod(shape[1:]))
        return draw.astype(np.float32)

    def conv(
        self, x: T, channels: int, kernel: int = 1, stride: int = 1, act: str | None = None, *, depthwise: bool = False
    ) -> T:
        """Convolution, BatchNormalization with true statistics, activation."""
        groups = x.channels if depthwise else 1
        weight = self.weight(channels, x.channels // groups, kernel, kernel)
        weight *= self.scales(channels)[:, None, None, None]
        y = self.op("Conv", x, weight, strides=[stride] * 2, pads=[kernel // 2] * 4, group=groups)
        mean, variance = y.values.mean((0, 2, 3)), y.values.var((0, 2, 3)) + 1e-6
        gamma, beta = self.scales(channels, outliers=channels // 64), self.bias(channels, 0.5)
        return self.activated(self.op("BatchNormalization", y, gamma, beta, mean, variance), act)

    def activated(self, x: T, act: str | None) -> T:
        if act == "hardswish":
            six = self.op("Clip", self.op("Add", x, np.float32(3)), np.float32(0), np.float32(6))
            return self.op("Div", self.op("Mul", x, six), np.float32(6))
        if act == "swish":
            return self.op("Mul", x, self.op("Sigmoid", x))
        return self.op("Relu", x) if act == "relu" else x

    def squeeze_excite(self, x: T) -> T:
        squeezed = max(x.channels // 4, 8)
        y = self.op("GlobalAveragePool", x)
        y = self.op("Relu", self.op("Conv", y, self.weight(squeezed, x.channels, 1, 1), self.bias(squeezed)))
        y = self.op("Conv", y, self.weight(x.channels, squeezed, 1, 1), self.bias(x.channels))
        return self.op("Mul", x, self.op("HardSigmoid", y, alpha=1 / 6, beta=0.5))

    def bias(self, count: int, scale: float = 0.2) -> Array:
        return self.rng.normal(0, scale, count).astype(np.float32)

    def linear(self, x: T, features: int, gain: float = 1.0) -> T:
        weight = self.weight(features, x.values.shape[-1]).T * self.scales(features) * np.float32(gain)
        return self.op("Add", self.op("MatMul", x, weight), self.bias(features))

    def norm(self, x: T) -> T:
        """LayerNormalization whose affine part has outlier channels, as trained transformers have them."""
        width = x.values.shape[-1]
        scale = self.scales(width, outliers=max(width // 64, 1), size=10.0)
        return self.op("LayerNormalization", x, scale, self.bias(width), axis=-1)

    def attention(self, x: T, heads: int) -> T:
        batch, tokens, width = x.values.shape
        each = width // heads
        split = np.array([0, tokens, heads, each])
        q, k, v = (self.op("Reshape", self.linear(x, width), split) for _ in range(3))
        q, v = (self.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
        scores = self.op("MatMul", q, self.op("Transpose", k, perm=[0, 2, 3, 1]))
        spread = np.float32(2.0 / scores.values.std())  # trained attention looks at few tokens
        mixed = self.op("MatMul", self.op("Softmax", self.op("Mul", scores, spread), axis=-1), v)
        joined = self.op("Reshape", self.op("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, tokens, width]))
        return self.linear(joined, width)

    def block(self, x: T, heads: int, hidden: int, act: str) -> T:
        """Transformer block with the normalization in front."""
        x = self.op("Add", x, self.attention(self.norm(x), heads))
        y = self.linear(self.norm(x), hidden)
        y = self.activated(y, "swish") if act == "swish" else self.gelu(y)
        return self.op("Add", x, self.linear(y, x.values.shape[-1]))

    def gelu(self, x: T) -> T:
        bell = self.op("Add", self.op("Erf", self.op("Mul", x, np.float32(2**-0.5))), np.float32(1))
        return self.op("Mul", self.op("Mul", x, bell), np.float32(0.5))

    def model(self, logits: T) -> onnx.ModelProto:
        """The network for one image."""
        self.declare("image", [1, *self.x.values.shape[1:]])
        output = helper.make_tensor_value_info(logits.name, TensorProto.FLOAT, [1, *logits.values.shape[1:]])
        return onnx.shape_inference.infer_shapes(self.finish([output]))


def _round8(value: float) -> int:
    return max(8, int(value + 4) // 8 * 8)


_V3 = (
    (3, 16, 16, True, "relu", 2), (3, 72, 24, False, "relu", 2), (3, 88, 24, False, "relu", 1),
    (5, 96, 40, True, "hardswish", 2), (5, 240, 40, True, "hardswish", 1), (5, 240, 40, True, "hardswish", 1),
    (5, 120, 48, True, "hardswish", 1), (5, 144, 48, True, "hardswish", 1), (5, 288, 96, True, "hardswish", 2),
    (5, 576, 96, True, "hardswish", 1), (5, 576, 96, True, "hardswish", 1),
)  # fmt: skip
"""Kernel, expansion, channels, squeeze-excitation, activation, stride (Howard et al. 2019, table 2)."""


def mobilenet_v3_small(
    size: int = 224, width: float = 1.0, layers: int = len(_V3), classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """MobileNetV3-Small; fewer ``layers`` and less ``width`` for tests."""
    net = FloatNet(size, seed)
    x = net.conv(net.x, _round8(16 * width), 3, 2, "hardswish")
    for kernel, expansion, channels, squeeze, act, stride in _V3[:layers]:
        y = net.conv(x, _round8(expansion * width), 1, 1, act)
        y = net.conv(y, y.channels, kernel, stride, act, depthwise=True)
        y = net.conv(net.squeeze_excite(y) if squeeze else y, _round8(channels * width))
        x = net.op("Add", x, y) if x.values.shape == y.values.shape else y
    x = net.conv(x, _round8(576 * width), 1, 1, "hardswish")
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    x = net.activated(net.linear(x, _round8(1024 * width)), "hardswish")
    return net.model(net.linear(x, classes))


def vit_tiny(
    size: int = 224, patch: int = 16, width: int = 192, depth: int = 12, heads: int = 3, classes: int = 1000,
    seed: int = 0,
) -> onnx.ModelProto:  # fmt: skip
    """ViT-Tiny (Touvron et al. 2021) with pooled tokens; two channels of the residual stream are outliers."""
    net = FloatNet(size, seed, spread=0.4)
    x = net.op("Conv", net.x, net.weight(width, 3, patch, patch), net.bias(width), strides=[patch] * 2)
    tokens = (size // patch) ** 2
    x = net.op("Transpose", net.op("Reshape", x, np.array([0, width, tokens])), perm=[0, 2, 1])
    position = net.rng.normal(0, 0.3, (1, tokens, width)).astype(np.float32)
    position[..., net.rng.permutation(width)[:2]] += 12.0
    x = net.op("Add", x, position)
    for _ in range(depth):
        x = net.block(x, heads, 4 * width, "gelu")
    x = net.op("ReduceMean", net.norm(x), axes=[1], keepdims=0)
    return net.model(net.linear(x, classes))


def mobilevit_xxs(
    size: int = 256, width: float = 1.0, stages: int = 3, classes: int = 1000, seed: int = 0
) -> onnx.ModelProto:
    """MobileViT-XXS (Mehta and Rastegari 2022): inverted residuals, then transformers over 2x2 patches.

    All tokens attend to each other; in the paper those of one position in the patch do. The statistics are the same.
    """
    net = FloatNet(size, seed, spread=0.5)

    def bottleneck(x: T, channels: int, stride: int) -> T:
        y = net.conv(x, 2 * x.channels, 1, 1, "swish")
        y = net.conv(net.conv(y, y.channels, 3, stride, "swish", depthwise=True), channels)
        return net.op("Add", x, y) if x.values.shape == y.values.shape else y

    def bridge(x: T, inner: int, depth: int) -> T:
        y = net.conv(x, x.channels, 3, 1, "swish")
        y = net.op("Conv", y, net.weight(inner, x.channels, 1, 1) * net.scales(inner)[:, None, None, None])
        y = fold(net, transformer(unfold(net, y), depth), y.values.shape[2])
        y = net.conv(y, x.channels, 1, 1, "swish")
        return net.conv(net.op("Concat", x, y, axis=1), x.channels, 3, 1, "swish")

    def transformer(x: T, depth: int) -> T:
        for _ in range(depth):
            x = net.block(x, 4, 2 * x.values.shape[-1], "swish")
        return net.norm(x)

    x = net.conv(net.x, _round8(16 * width), 3, 2, "swish")
    x = bottleneck(x, _round8(16 * width), 1)
    for stride in (2, 1, 1):
        x = bottleneck(x, _round8(24 * width), stride)
    for channels, inner, depth in ((48, 64, 2), (64, 80, 4), (80, 96, 3))[:stages]:
        x = bridge(bottleneck(x, _round8(channels * width), 2), _round8(inner * width), depth if width == 1 else 1)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv(x, 4 * x.channels, 1, 1, "swish")))
    return net.model(net.linear(x, classes))


def unfold(net: FloatNet, x: T) -> T:
    """``[N, C, H, W]`` to tokens ``[N, HW, C]``, ordered by their position in a 2x2 patch."""
    _, channels, height, width = x.values.shape
    y = net.op("Reshape", x, np.array([0, channels, height // 2, 2, width // 2, 2]))
    y = net.op("Transpose", y, perm=[0, 3, 5, 2, 4, 1])
    return net.op("Reshape", y, np.array([0, height * width, channels]))


def fold(net: FloatNet, x: T, height: int) -> T:
    """The inverse of :func:`unfold`."""
    _, tokens, channels = x.values.shape
    width = tokens // height
    y = net.op("Reshape", x, np.array([0, 2, 2, height // 2, width // 2, channels]))
    y = net.op("Transpose", y, perm=[0, 5, 3, 1, 4, 2])
    return net.op("Reshape", y, np.array([0, channels, height, width]))


#: name -> builder, its image size, and the arguments of a small instance
CASES: dict[str, tuple[Any, int, dict[str, Any]]] = {
    "mobilenetv3-small": (mobilenet_v3_small, 224, {"size": 64, "width": 0.5, "layers": 5, "classes": 32}),
    "vit-tiny": (vit_tiny, 224, {"size": 32, "patch": 8, "width": 48, "depth": 2, "classes": 32}),
    "mobilevit-xxs": (mobilevit_xxs, 256, {"size": 32, "width": 0.5, "stages": 1, "classes": 32}),
}
