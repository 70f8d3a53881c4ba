"""Seeded float graphs of the families that the rules are for, written node by node as exporters write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from nets.writer import NodeWriter
from onnx import TensorProto, helper, shape_inference


class GraphWriter(NodeWriter):
    """Writes an ONNX graph one node at a time; every method returns the name of the node's output."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__("seeded")
        self.random = np.random.default_rng(seed)

    def input(self, name: str, shape: Sequence[int]) -> str:
        return self.declare(name, shape)

    def constant(self, array: Any, dtype: type | None = np.float32, name: str | None = None) -> str:
        return super().constant(array, dtype, name)

    def weight(self, *shape: int, scale: float | None = None) -> str:
        spread = scale if scale is not None else 1 / np.sqrt(np.prod(shape[1:]) if len(shape) > 2 else shape[0])
        return self.constant(self.random.standard_normal(shape) * spread)

    def vector(self, size: int, mean: float = 0.0, scale: float = 0.1) -> str:
        return self.constant(mean + scale * self.random.standard_normal(size))

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = self.write(op, inputs, outputs, **attributes)
        return names[0] if outputs == 1 else names

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return str(self.node("Reshape", x, self.constant(list(shape), np.int64)))

    def linear(self, x: str, inputs: int, outputs: int) -> str:
        product = self.node("MatMul", x, self.weight(inputs, outputs))
        return str(self.node("Add", self.vector(outputs), product))

    def layernorm(self, x: str, size: int) -> str:
        centered = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        variance = self.node("ReduceMean", self.node("Pow", centered, self.constant(2.0)), axes=[-1])
        root = self.node("Sqrt", self.node("Add", variance, self.constant(1e-5)))
        scaled = self.node("Mul", self.node("Div", centered, root), self.vector(size, 1.0))
        return str(self.node("Add", scaled, self.vector(size)))

    def gelu(self, x: str) -> str:
        erf = self.node("Erf", self.node("Div", x, self.constant(np.sqrt(2.0))))
        inner = self.node("Mul", x, self.node("Add", erf, self.constant(1.0)))
        return str(self.node("Mul", inner, self.constant(0.5)))

    def every(self, x: str, axis: int, first: int, step: int = 2) -> str:
        bounds = (self.constant([v], np.int64) for v in (first, 2**31 - 1, axis, step))
        return str(self.node("Slice", x, *bounds))

    def heads(self, x: str, rows: int, heads: int, size: int, perm: Sequence[int]) -> str:
        return str(self.node("Transpose", self.reshape(x, [1, rows, heads, size]), perm=list(perm)))

    def attention(self, x: str, rows: int, width: int, heads: int, mask: str | None = None) -> str:
        size = width // heads
        q, k, v = (self.linear(x, width, width) for _ in range(3))
        q = self.heads(q, rows, heads, size, (0, 2, 1, 3))
        k = self.heads(k, rows, heads, size, (0, 2, 3, 1))
        v = self.heads(v, rows, heads, size, (0, 2, 1, 3))
        scores = self.node("Div", self.node("MatMul", q, k), self.constant(np.sqrt(size)))
        if mask is not None:
            scores = self.node("Add", scores, mask)
        context = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
        merged = self.reshape(self.node("Transpose", context, perm=[0, 2, 1, 3]), [1, rows, width])
        return self.linear(merged, width, width)

    def model(self, *outputs: str, opset: int = 17) -> ir.Model:
        values = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        self.opset = opset
        return ir.from_proto(shape_inference.infer_shapes(self.finish(values), strict_mode=True))


def bert(layers: int = 1, rows: int = 16, width: int = 32, heads: int = 4, hidden: int = 64, seed: int = 0) -> ir.Model:
    """Post-norm encoder as BERT has it: [1, rows, width] in and out."""
    g = GraphWriter(seed)
    x = g.input("x", [1, rows, width])
    for _ in range(layers):
        x = g.layernorm(g.node("Add", g.attention(x, rows, width, heads), x), width)
        inner = g.gelu(g.linear(x, width, hidden))
        x = g.layernorm(g.node("Add", g.linear(inner, hidden, width), x), width)
    return g.model(x)


def vit(layers: int = 1, rows: int = 16, width: int = 32, heads: int = 4, hidden: int = 64, seed: int = 0) -> ir.Model:
    """Pre-norm encoder as ViT has it."""
    g = GraphWriter(seed)
    x = g.input("x", [1, rows, width])
    for _ in range(layers):
        x = g.node("Add", g.attention(g.layernorm(x, width), rows, width, heads), x)
        inner = g.gelu(g.linear(g.layernorm(x, width), width, hidden))
        x = g.node("Add", g.linear(inner, hidden, width), x)
    return g.model(g.layernorm(x, width))


def neck(sizes: Sequence[int], other_reader: bool = False) -> ir.Model:
    """Parts of the given numbers of channels, joined for a convolution, and, if asked, for a Relu as well."""
    g = GraphWriter()
    x = g.input("x", [1, 8, 8, 8])
    parts = [g.node("Conv", x, g.weight(n, 8, 1, 1)) for n in sizes]
    joined = g.node("Concat", *parts, axis=1)
    y = g.node("Conv", joined, g.weight(8, sum(sizes), 3, 3), g.vector(8), pads=[1, 1, 1, 1])
    return g.model(y, g.node("Relu", joined)) if other_reader else g.model(y)
