"""ReLU linear attention over two scales: views and two MatMuls on maps of channels.

For a head's channels i, j and tokens n, with q and k passed through ReLU and v widened by a row of ones::

    M = v k^T        out = M q        result[j, n] = out[j, n] / (out[last, n] + eps)

The published network makes queries, keys and values of one head side by side, and transposes them. Here the rows of the
weights are sorted: all queries, all keys, all values; so they are cut from the maps as they lie.
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
    order = np.arange(width).reshape(-1, 3, dim).swapaxes(0, 1).reshape(-1)
    qkv = graph.conv(f"{name}.qkv", x, weight[order])
    around = graph.conv(f"{name}.aggreg.0.0", qkv, parameters[f"{name}.aggreg.0.0.weight"][order], groups=width)
    second = graph.conv(
        f"{name}.aggreg.0.1", around, parameters[f"{name}.aggreg.0.1.weight"][order], groups=width // dim
    )
    thirds = [graph.split(f"{name}.scale{i}", x, [width // 3] * 3) for i, x in enumerate((qkv, second))]
    heads = [1, 2 * width // (3 * dim), dim, tokens]
    q, k, v = (
        graph.reshape(f"{name}.{part}.heads", graph.op("Concat", f"{name}.{part}.scales", *scales, axis=1), heads)
        for part, *scales in zip("qkv", *thirds, strict=True)
    )
    attended = _attend(graph, name, q, k, v)
    joined = graph.reshape(f"{name}.map", attended, [1, 2 * width // 3, *grid])
    return graph.conv(f"{name}.proj", joined, *parameters.conv(f"{name}.proj"))


def _attend(graph: NetworkWriter, name: str, q: ir.Value, k: ir.Value, v: ir.Value) -> ir.Value:
    """``[1, heads, d, tokens]`` each, as the result."""
    q, k = graph.op("Relu", f"{name}.q", q), graph.op("Relu", f"{name}.k", k)
    one = graph.constant(f"{name}.one", np.array([1], np.float32))
    wide = graph.op("Pad", f"{name}.v", v, graph.integers([0, 0, 0, 0, 0, 0, 1, 0]), one)
    turned = graph.op("Transpose", f"{name}.k.turned", k, perm=[0, 1, 3, 2])
    out = graph.op("MatMul", f"{name}.out", graph.op("MatMul", f"{name}.vk", wide, turned), q)
    values, total = (graph.slice(f"{name}.{part}", out, *ends, axis=2) for part, ends in _PARTS.items())
    small = graph.constant(f"{name}.epsilon", np.array([_EPSILON], np.float32))
    return graph.op("Div", f"{name}.normal", values, graph.op("Add", f"{name}.safe", total, small))


_PARTS = {"values": (0, -1), "total": (-1, np.iinfo(np.int32).max)}
"""Where the rows of the second product hold the sums of weighted values, and the sums of weights."""
