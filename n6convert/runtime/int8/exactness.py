"""Whether onnxruntime's fastest integer kernels sum exactly on this CPU."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.runtime.opening import opened, session_options

__all__ = ["signed_weights_are_exact"]

_GRAPH = """<ir_version: 8, opset_import: ["": 13, "com.microsoft": 1]>
probe (uint8[1,32,6,6] x, uint8[8,64] a)
 => (uint8[1,16,6,6] conv, uint8[1,16,6,6] point, uint8[1,32,6,6] depthwise, uint8[8,16] matmul, uint8[8,16] gemm,
     int32[8,16] sums) {
  conv = QLinearConv <pads = [1, 1, 1, 1]> (x, one, zero, w3, one, none, s288, middle)
  point = QLinearConv (x, one, zero, w1, one, none, s32, middle)
  depthwise = QLinearConv <group = 32, pads = [1, 1, 1, 1]> (x, one, zero, wd, one, none, s9, middle)
  matmul = QLinearMatMul (a, one, zero, b, one, none, s64, middle)
  gemm = com.microsoft.QGemm (a, one, zero, b, one, none, , s64, middle)
  sums = MatMulInteger (a, b, zero, none)
}"""
_STEPS = 100


@cache
def signed_weights_are_exact() -> bool:
    """Whether sums of products of uint8 activations and int8 weights are right in all kernels that take them.

    The largest products there are are summed: pairs that saturate at 16 bits give half. Found out once a process.
    """
    return all(_is_exact(weight) for weight in (127, -127))


def _is_exact(weight: int) -> bool:
    import onnx.parser

    constants: dict[str, object] = {
        "one": np.float32(1),
        "zero": np.uint8(0),
        "none": np.int8(0),
        "middle": np.uint8(128),
    }
    shapes = {"w3": (16, 32, 3, 3), "w1": (16, 32, 1, 1), "wd": (32, 1, 3, 3), "b": (64, 16)}
    weights = {name: np.full(shape, weight, np.int8) for name, shape in shapes.items()}
    scales = {f"s{count}": np.float32(count * 255 * 127 / _STEPS) for count in (288, 32, 9, 64)}
    feeds = {"x": np.full((1, 32, 6, 6), 255, np.uint8), "a": np.full((8, 64), 255, np.uint8)}
    probe = onnx.parser.parse_model(_GRAPH)
    for name, array in (constants | weights | scales).items():
        probe.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    try:
        found = _results(probe.SerializeToString(), feeds)
    except Exception:  # a version without such kernels; onnxruntime raises a dozen unrelated types
        return False
    code, sums = 128 + _STEPS * weight // 127, 64 * 255 * weight
    inner = [found.pop(name)[:, :, 1:-1, 1:-1] for name in ("conv", "depthwise")]
    return bool(np.all(found.pop("sums") == sums)) and all(np.all(a == code) for a in (*inner, *found.values()))


def _results(model: bytes, feeds: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    session = opened(model, session_options(optimize=False))
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))
