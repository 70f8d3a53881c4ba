"""Small seeded networks for the quantizer's tests, written in ONNX's text form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization import QuantizationResult


def parse(body: str, opset: int = 13, **weights: NDArray[np.float32]) -> ir.Model:
    """A model from text, with the given initializers."""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{body}')
    model = ir.from_proto(proto)
    for name, array in weights.items():
        used = next((v for n in model.graph for v in n.inputs if v is not None and v.name == name), None)
        value = used if used is not None else ir.Value(name=name)
        value.const_value = ir.tensor(np.asarray(array), name=name)
        value.type, value.shape = ir.TensorType(value.const_value.dtype), value.const_value.shape
        model.graph.register_initializer(value)
    return model


def feeds(shape: tuple[int, ...], count: int = 4, seed: int = 0, name: str = "x") -> Callable[[], Iterator[dict]]:
    """A source of seeded normal samples."""

    def make() -> Iterator[dict]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            yield {name: rng.standard_normal(shape).astype(np.float32)}

    return make


def cnn(seed: int = 0) -> ir.Model:
    """Conv-Relu, depthwise, SiLU, pooling, concat, residual, transposed conv, global pool, Gemm, softmax."""
    rng = np.random.default_rng(seed)

    def w(*shape: int) -> NDArray[np.float32]:
        fan_in = int(np.prod(shape[1:]))
        return (rng.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)

    body = """
    net (float[1,3,16,16] x) => (float[1,5] y, float[1,4,16,16] up) {
      a = Conv<pads=[1,1,1,1]>(x, w1, b1)
      ar = Relu(a)
      d = Conv<pads=[1,1,1,1], group=8>(ar, w2, b2)
      six = Constant<value_float=6.0>()
      zero = Constant<value_float=0.0>()
      dr = Clip(d, zero, six)
      e = Conv(dr, w3, b3)
      s = Sigmoid(e)
      m = Mul(e, s)
      r = Add(m, ar)
      p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
      c = Concat<axis=1>(p, p)
      up = ConvTranspose<strides=[2,2]>(p, w4, b4)
      g = GlobalAveragePool(c)
      f = Flatten(g)
      l = Gemm<transB=1>(f, w5, b5)
      y = Softmax(l)
    }"""
    weights = {"w1": w(8, 3, 3, 3), "w2": w(8, 1, 3, 3), "w3": w(8, 8, 1, 1), "w4": w(8, 4, 2, 2), "w5": w(5, 16)}
    weights |= {f"b{i + 1}": w(n, 1)[:, 0] for i, n in enumerate((8, 8, 8, 4, 5))}
    return parse(body, **weights)


def pointwise() -> ir.Model:
    """One layer, 64 channels to 8."""
    weight = np.random.default_rng(1).standard_normal((8, 64, 1, 1)).astype(np.float32) / 8
    body = "net (float[1,64,8,8] x) => (float[1,8,8,8] y) { y = Conv(x, w, b) }"
    return parse(body, w=weight, b=np.zeros(8, np.float32))


def around_one(count: int = 8, seed: int = 0) -> Callable[[], Iterator[dict]]:
    """Samples for :func:`pointwise` whose values are nearly alike: what rounding does to weights is the same in all."""

    def make() -> Iterator[dict]:
        rng = np.random.default_rng(seed)
        for _ in range(count):
            yield {"x": rng.uniform(0.9, 1.1, (1, 64, 8, 8)).astype(np.float32)}

    return make


def record(result: QuantizationResult, method: str) -> dict[str, Any] | None:
    """What the report says of a method; None where it was not tried or had nothing to do."""
    return next((m for m in result.facts["methods"][1:] if m["method"] == method), None)
