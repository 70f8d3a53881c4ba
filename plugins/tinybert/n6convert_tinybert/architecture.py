"""A BERT encoder with seeded weights, in the form PyTorch's exporter writes one, embedding cut off.

Operators are those of an exported model after :func:`~n6convert_tinybert.surgery.cut_encoder`, so that whatever holds
for one (placement, rewrites) holds for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.plugin.graphs import NetworkWriter
from n6convert_tinybert.embedding import Embedding
from n6convert_tinybert.surgery import EMBEDDED, MASK

__all__ = ["Shape", "build_encoder", "seeded_embedding"]


@dataclass(frozen=True)
class Shape:
    """Dimensions of an encoder.

    Attributes:
        layers, hidden, heads, intermediate, vocabulary: as in a BERT configuration.
        sequence: number of tokens.
        head: ``classification``, ``embedding`` (hidden states) or ``tokens`` (vocabulary scores for every token).
        labels: classes of the classification head.
    """

    layers: int
    hidden: int
    heads: int
    intermediate: int
    vocabulary: int
    sequence: int
    head: str
    labels: int = 2


def seeded_embedding(shape: Shape, seed: int) -> Embedding:
    """Tables with the spread of trained ones: same seed, same numbers."""
    rng = np.random.default_rng([seed, 1])
    words = rng.standard_normal((shape.vocabulary, shape.hidden), np.float32) * np.float32(0.05)
    positions = rng.standard_normal((shape.sequence, shape.hidden), np.float32) * np.float32(0.02)
    gamma = (1 + 0.1 * rng.standard_normal(shape.hidden)).astype(np.float32)
    beta = (0.1 * rng.standard_normal(shape.hidden)).astype(np.float32)
    return Embedding(words, positions, gamma, beta, 1e-12)


class _Net:
    def __init__(self, seed: int) -> None:
        self.writer = NetworkWriter("encoder")
        self._rng = np.random.default_rng([seed, 2])

    def constant(self, name: str, array: NDArray[np.generic] | np.generic) -> ir.Value:
        return self.writer.constant(name, array)

    def noise(self, name: str, shape: tuple[int, ...], spread: float, middle: float = 0.0) -> ir.Value:
        return self.constant(name, (middle + spread * self._rng.standard_normal(shape)).astype(np.float32))

    def op(self, kind: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        return self.writer.op(kind, None, *inputs, **attributes)

    def linear(self, name: str, x: ir.Value, wide: int, out: int) -> ir.Value:
        product = self.op("MatMul", x, self.noise(f"{name}.weight", (wide, out), wide**-0.5))
        return self.op("Add", product, self.noise(f"{name}.bias", (out,), 0.02))

    def norm(self, name: str, x: ir.Value, width: int) -> ir.Value:
        gamma = self.noise(f"{name}.weight", (width,), 0.1, 1.0)
        return self.op("LayerNormalization", x, gamma, self.noise(f"{name}.bias", (width,), 0.1), epsilon=1e-12)


def build_encoder(shape: Shape, seed: int) -> ir.Model:
    """The float graph: ``embedded`` [1,S,D] and ``mask`` [1,1,1,S] in; ``logits`` or ``hidden`` out.

    Args:
        shape: dimensions; ``hidden`` is a multiple of ``heads``.
        seed: same seed, same numbers.
    """
    net = _Net(seed)
    hidden = net.writer.input(EMBEDDED, (1, shape.sequence, shape.hidden))
    mask = net.writer.input(MASK, (1, 1, 1, shape.sequence))
    x = hidden
    for index in range(shape.layers):
        x = _layer(net, f"layer.{index}", x, mask, shape)
    answer = {"classification": _classifier, "tokens": _scores, "embedding": _states}[shape.head](net, x, shape)
    return net.writer.finish([hidden, mask], [answer])


def _layer(net: _Net, name: str, x: ir.Value, mask: ir.Value, shape: Shape) -> ir.Value:
    attended = net.linear(f"{name}.attention.output", _attention(net, name, x, mask, shape), shape.hidden, shape.hidden)
    x = net.norm(f"{name}.attention.norm", net.op("Add", attended, x), shape.hidden)
    inner = _gelu(net, name, net.linear(f"{name}.intermediate", x, shape.hidden, shape.intermediate))
    out = net.linear(f"{name}.output", inner, shape.intermediate, shape.hidden)
    return net.norm(f"{name}.output.norm", net.op("Add", out, x), shape.hidden)


def _attention(net: _Net, name: str, x: ir.Value, mask: ir.Value, shape: Shape) -> ir.Value:
    width = shape.hidden // shape.heads
    split = net.constant(f"{name}.split", np.array([1, shape.sequence, shape.heads, width], np.int64))
    merge = net.constant(f"{name}.merge", np.array([1, shape.sequence, shape.hidden], np.int64))
    scale = net.constant(f"{name}.scale", np.float32(width**-0.25))
    names = [f"{name}.attention.{part}" for part in ("query", "key", "value")]
    query, key, value = (net.op("Reshape", net.linear(n, x, shape.hidden, shape.hidden), split) for n in names)
    query = net.op("Mul", net.op("Transpose", query, perm=[0, 2, 1, 3]), scale)
    key = net.op("Mul", net.op("Transpose", key, perm=[0, 2, 3, 1]), scale)
    scores = net.op("Add", net.op("MatMul", query, key), mask)
    mixed = net.op("MatMul", net.op("Softmax", scores, axis=-1), net.op("Transpose", value, perm=[0, 2, 1, 3]))
    return net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), merge)


def _gelu(net: _Net, name: str, x: ir.Value) -> ir.Value:
    root, one, half = (net.constant(f"{name}.gelu.{v:.3f}", np.float32(v)) for v in (2**0.5, 1.0, 0.5))
    return net.op("Mul", net.op("Mul", x, net.op("Add", net.op("Erf", net.op("Div", x, root)), one)), half)


def _classifier(net: _Net, x: ir.Value, shape: Shape) -> ir.Value:
    bounds = [net.constant(f"first.{i}", np.array([v], np.int64)) for i, v in enumerate((0, 1, 1))]
    row = net.constant("first.shape", np.array([1, shape.hidden], np.int64))
    first = net.op("Reshape", net.op("Slice", x, *bounds), row)
    pooled = net.op("Tanh", _gemm(net, "pooler", first, shape.hidden, shape.hidden))
    return _named(_gemm(net, "classifier", pooled, shape.hidden, shape.labels), "logits")


def _gemm(net: _Net, name: str, x: ir.Value, wide: int, out: int) -> ir.Value:
    weight, bias = net.noise(f"{name}.weight", (out, wide), wide**-0.5), net.noise(f"{name}.bias", (out,), 0.02)
    return net.op("Gemm", x, weight, bias, transB=1)


def _scores(net: _Net, x: ir.Value, shape: Shape) -> ir.Value:
    return _named(net.linear("scores", x, shape.hidden, shape.vocabulary), "logits")


def _states(net: _Net, x: ir.Value, shape: Shape) -> ir.Value:
    return _named(x, "hidden")


def _named(value: ir.Value, name: str) -> ir.Value:
    value.name = name
    return value
