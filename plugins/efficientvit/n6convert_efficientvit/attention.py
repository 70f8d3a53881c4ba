"""ReLU linear attention over two scales, written as published: views, transposes and two MatMuls.

For a head's tokens n and channels i, j, with q and k passed through ReLU and v widened by a column of ones::

    M = k^T v        out = q M        result[n, j] = out[n, j] / (out[n, last] + eps)

The general rewrites turn it into the forms that the NPU has.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.plugin.graphs import NetworkWriter
from n6convert_efficientvit.parameters import Parameters

__all__ = ["write_attention"]

_EPSILON = 1e-5


def write_attention(
    graph: NetworkWriter, parameters: Parameters, name: str, x: ir.Value, grid: tuple[int, int]
) -> ir.Value:
    """LiteMLA: two scales of queries, keys and values, linear attention on each, a projection of both.

    Args:
        x: ``[1, C, *grid]``; the result has the same shape.
    """
    dim, tokens = parameters.arch.head_dim, grid[0] * grid[1]
    weight = parameters[f"{name}.qkv.conv.weight"]
    width = weight.shape[0]
    qkv = graph.conv(f"{name}.qkv", x, weight)
    around = graph.conv(f"{name}.aggreg.0.0", qkv, parameters[f"{name}.aggreg.0.0.weight"], groups=width)
    second = graph.conv(f"{name}.aggreg.0.1", around, parameters[f"{name}.aggreg.0.1.weight"], groups=width // dim)
    scales = graph.op("Concat", f"{name}.scales", qkv, second, axis=1)
    heads = graph.reshape(f"{name}.heads", scales, [1, 2 * width // (3 * dim), 3 * dim, tokens])
    by_token = graph.op("Transpose", f"{name}.tokens", heads, perm=[0, 1, 3, 2])
    q, k, v = graph.split(f"{name}.parts", by_token, [dim] * 3, axis=3)
    attended = _attend(graph, name, q, k, v)
    back = graph.op("Transpose", f"{name}.back", attended, perm=[0, 1, 3, 2])
    return graph.conv(
        f"{name}.proj", graph.reshape(f"{name}.map", back, [1, 2 * width // 3, *grid]), *parameters.conv(f"{name}.proj")
    )


def _attend(graph: NetworkWriter, name: str, q: ir.Value, k: ir.Value, v: ir.Value) -> ir.Value:
    """``[1, heads, tokens, d]`` each, as the result."""
    q, k = graph.op("Relu", f"{name}.q", q), graph.op("Relu", f"{name}.k", k)
    one = graph.constant(f"{name}.one", np.array([1], np.float32))
    wide = graph.op("Pad", f"{name}.v", v, graph.integers([0, 0, 0, 0, 0, 0, 0, 1]), one)
    turned = graph.op("Transpose", f"{name}.k.turned", k, perm=[0, 1, 3, 2])
    out = graph.op("MatMul", f"{name}.out", q, graph.op("MatMul", f"{name}.kv", turned, wide))
    values, total = (graph.slice(f"{name}.{part}", out, *ends) for part, ends in _PARTS.items())
    small = graph.constant(f"{name}.epsilon", np.array([_EPSILON], np.float32))
    return graph.op("Div", f"{name}.normal", values, graph.op("Add", f"{name}.safe", total, small))


_PARTS = {"values": (0, -1), "total": (-1, np.iinfo(np.int32).max)}
"""Where the last axis of the second product holds the sums of weighted values, and the sums of weights."""
