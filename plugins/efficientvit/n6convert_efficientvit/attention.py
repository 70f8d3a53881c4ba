"""ReLU linear attention without a matrix product of two activations (SPEC b.1, c.2: those run as software).

For head h, tokens n and d channels per head, with k, q passed through ReLU::

    s[i]     = mean_n k[i, n]                    M[i, j] = mean_n k[i, n] * v[j, n]
    out[j,n] = sum_i q[i, n] * M[i, j]  /  (sum_i q[i, n] * s[i] + eps / N)

Channels are ordered (i, h) instead of timm's (h, i), by permuting weights, so that everything is a form the NPU has:

* ``k[i, h, n] * v_j[h, n]`` repeats only its second operand, over the outermost axis; its mean over n is a global pool;
* ``q[i, h, n] * M_j[i, h]`` is a factor per channel; the sum over i is a 1x1 convolution of ones from (i, h) to h;
* the grouped 1x1 convolution of the second scale becomes three dense ones, with zeros between heads.

``matmul`` writes the same function as two MatMuls per scale, for comparison and for other rewrites to work on.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert_efficientvit.graph import Writer
from n6convert_efficientvit.parameters import Parameters

__all__ = ["AttentionForm", "write_attention"]

AttentionForm = Literal["steps", "matmul"]
Array = NDArray[np.float32]
_EPSILON = 1e-5


def write_attention(
    graph: Writer, parameters: Parameters, name: str, x: ir.Value, grid: tuple[int, int], form: AttentionForm
) -> ir.Value:
    """LiteMLA: two scales of queries, keys and values, linear attention on each, a projection of both.

    Args:
        x: ``[1, C, *grid]``; the result has the same shape.
    """
    return _Attention(graph, parameters, name, x, grid).write(form)


class _Attention:
    def __init__(self, graph: Writer, parameters: Parameters, name: str, x: ir.Value, grid: tuple[int, int]) -> None:
        self.graph, self.parameters, self.name, self.x = graph, parameters, name, x
        self.dim = parameters.arch.head_dim
        self.width = parameters[f"{name}.qkv.conv.weight"].shape[1]
        self.heads = self.width // self.dim
        self.grid, self.tokens = grid, grid[0] * grid[1]
        self.order = _order(self.dim, self.heads)

    def write(self, form: AttentionForm) -> ir.Value:
        first, second = self._scales()
        attend = self._steps if form == "steps" else self._matmul
        parts = [attend(f"{self.name}.scale{i}", *scale) for i, scale in enumerate((first, second))]
        joined = self.graph.concat(f"{self.name}.heads", parts)
        weight, bias = self.parameters.conv(f"{self.name}.proj")
        turned = weight.reshape(-1, 2, self.heads, self.dim).transpose(0, 1, 3, 2).reshape(weight.shape)
        return self.graph.conv(f"{self.name}.proj", joined, turned, bias)

    def _scales(self) -> tuple[list[ir.Value], list[ir.Value]]:
        """Queries, keys and values ``[1, C, h, w]`` of both scales, channels in the order (i, h)."""
        graph, name, parameters = self.graph, self.name, self.parameters
        sizes = [self.width] * 3
        qkv = graph.conv(f"{name}.qkv", self.x, parameters[f"{name}.qkv.conv.weight"][self.order])
        depth = parameters[f"{name}.aggreg.0.0.weight"][self.order]
        around = graph.conv(f"{name}.aggreg.0.0", qkv, depth, groups=3 * self.width)
        parts = graph.split(f"{name}.aggreg.0.parts", around, sizes)
        weights = parameters[f"{name}.aggreg.0.1.weight"]
        dense = (_dense(weights, part, self.dim, self.heads) for part in range(3))
        second = [graph.conv(f"{name}.aggreg.0.1.{i}", p, w) for i, (p, w) in enumerate(zip(parts, dense, strict=True))]
        return list(graph.split(f"{name}.qkv.parts", qkv, sizes)), second

    def _steps(self, name: str, q: ir.Value, k: ir.Value, v: ir.Value) -> ir.Value:
        """Products and means; ``[1, C, h, w]`` in the order (j, h)."""
        graph = self.graph
        q, k = graph.op("Relu", f"{name}.q", q), graph.op("Relu", f"{name}.k", k)
        inverse = self._inverse(name, q, graph.op("GlobalAveragePool", f"{name}.s", k))
        seen = self._rows(f"{name}.k.rows", k)
        ones = graph.constant(f"{name}.sum", self._sum())
        parts = []
        for j, row in enumerate(graph.split(f"{name}.v.rows", v, [self.heads] * self.dim)):
            product = graph.op("Mul", f"{name}.{j}.kv", seen, self._row(f"{name}.{j}.v", row))
            mean = graph.op("GlobalAveragePool", f"{name}.{j}.m", self._map(f"{name}.{j}.map", product))
            weighted = graph.op("Mul", f"{name}.{j}.qm", q, mean)
            parts.append(graph.op("Conv", f"{name}.{j}.out", weighted, ones, kernel_shape=[1, 1]))
        total = graph.concat(f"{name}.out", parts)
        rows = graph.op("Mul", f"{name}.normal", self._rows(f"{name}.out.rows", total), self._row(f"{name}.r", inverse))
        return self._map(f"{name}.result", rows)

    def _inverse(self, name: str, q: ir.Value, s: ir.Value) -> ir.Value:
        """1 / (sum_i q_i s_i + eps / N), ``[1, heads, h, w]``."""
        graph = self.graph
        weighted = graph.op("Mul", f"{name}.qs", q, s)
        small = np.full(self.heads, _EPSILON / self.tokens, np.float32)
        return graph.op("Reciprocal", f"{name}.inverse", graph.conv(f"{name}.total", weighted, self._sum(), small))

    def _matmul(self, name: str, q: ir.Value, k: ir.Value, v: ir.Value) -> ir.Value:
        """The same with MatMul; heads outermost, so a transpose of each operand in front."""
        graph, shape = self.graph, [1, self.dim, self.heads, self.tokens]
        q, k = graph.op("Relu", f"{name}.q", q), graph.op("Relu", f"{name}.k", k)
        inverse = self._inverse(name, q, graph.op("GlobalAveragePool", f"{name}.s", k))
        by_head = [
            graph.op(
                "Transpose",
                f"{name}.{part}.heads",
                graph.reshape(f"{name}.{part}.view", value, shape),
                perm=[0, 2, 1, 3],
            )
            for part, value in (("q", q), ("k", k), ("v", v))
        ]
        turned = graph.op("Transpose", f"{name}.k.turned", by_head[1], perm=[0, 1, 3, 2])
        scale = graph.constant(f"{name}.mean", np.array(1 / self.tokens, np.float32))
        moment = graph.op("Mul", f"{name}.m", graph.op("MatMul", f"{name}.vk", by_head[2], turned), scale)
        total = graph.op(
            "Transpose", f"{name}.out", graph.op("MatMul", f"{name}.mq", moment, by_head[0]), perm=[0, 2, 1, 3]
        )
        normal = graph.op("Mul", f"{name}.normal", total, self._row(f"{name}.r", inverse))
        return self._map(f"{name}.result", normal)

    def _rows(self, name: str, x: ir.Value) -> ir.Value:
        """``[1, C, h, w]`` seen as ``[1, d, heads, tokens]``."""
        return self.graph.reshape(name, x, [1, self.dim, self.heads, self.tokens])

    def _row(self, name: str, x: ir.Value) -> ir.Value:
        """``[1, heads, h, w]`` seen as ``[1, 1, heads, tokens]``."""
        return self.graph.reshape(name, x, [1, 1, self.heads, self.tokens])

    def _map(self, name: str, x: ir.Value) -> ir.Value:
        """Back to ``[1, C, h, w]``."""
        return self.graph.reshape(name, x, [1, self.width, *self.grid])

    def _sum(self) -> Array:
        """Weights ``[heads, C, 1, 1]`` that add up the channels (i, h) of each head."""
        return np.tile(np.eye(self.heads, dtype=np.float32), (1, self.dim))[..., None, None]


def _order(dim: int, heads: int) -> NDArray[np.int64]:
    """Where timm keeps the channels (part, i, h): head by head, q k v within a head."""
    part, i, h = np.meshgrid(np.arange(3), np.arange(dim), np.arange(heads), indexing="ij")
    return np.asarray((h * 3 + part) * dim + i, np.int64).ravel()


def _dense(grouped: Array, part: int, dim: int, heads: int) -> Array:
    """One of q, k, v of the grouped 1x1 weights ``[3 C, d, 1, 1]`` as a dense ``[C, C, 1, 1]`` in the order (i, h)."""
    blocks = grouped.reshape(heads, 3, dim, dim)[:, part]
    dense = np.zeros((dim, heads, dim, heads), np.float32)
    for head, block in enumerate(blocks):
        dense[:, head, :, head] = block
    return dense.reshape(dim * heads, dim * heads, 1, 1)
