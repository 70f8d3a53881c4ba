"""LayerNorm and RMSNorm over channels in steps that the NPU has ([#transformers]), channel-first on ``[1, D, h, w]``::

    m = Conv(x, 1/D)              c = x - m                (RMSNorm: c = x)
    v = Conv(c*c, k/D) + k*eps    r = 1/sqrt(v)            y = c * r * (gamma * sqrt(k)) + beta

Means are 1x1 Convs with one output, so every broadcast has one repeated side; eps is the second Conv's bias; k = 1 / (a
typical variance) puts v into the middle of the range of the functions that stand for 1/sqrt, which are chosen by
predicted time and measured INT8 error (:mod:`n6convert.rewrites.reciprocal`). Exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.graph.patterns.norm import Norm, find_norm
from n6convert.graph.query import Array, grid, is_float
from n6convert.rewrites.reciprocal import UNKNOWN_SPREAD, Choice, Inverse
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["LayerNormDecompose"]


class LayerNormDecompose(Rewrite[Norm]):
    """Write LayerNorm and RMSNorm as convolutions, one-sided broadcasts and an ACTIV function."""

    name = "layernorm-decompose"
    roots = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "Add", "Mul", "Div"})

    def __init__(self) -> None:
        self._inverse = Inverse(-0.5)

    def pattern(self, node: ir.Node) -> Norm | None:
        return find_norm(node)

    def check(self, found: Norm, context: Context) -> str | None:
        if not is_float(found.x):
            return "its input is not float32"
        if max(found.rows, found.channels) >= AXIS_LIMIT:
            return f"an axis of {max(found.rows, found.channels)} exceeds the compiler's limit of 65,535"
        return None

    def replace(self, found: Norm, build: Builder, context: Context) -> Sequence[ir.Value]:
        d = found.channels
        x = found.to_channel_first(build)
        centered = build.sub(x, build.pointwise(x, np.full((1, d), 1 / d))) if found.centered else x
        scale, choice = self._chosen(found, context)
        ones = np.full((1, d), scale / d)
        variance = build.pointwise(build.mul(centered, centered), ones, np.array([scale * found.epsilon]))
        inverse = choice.form.write(build, variance)
        gamma = np.broadcast_to(found.gamma, (d,)) * choice.form.factor * math.sqrt(scale)
        y = build.mul(build.mul(centered, inverse), gamma.reshape(1, d, 1, 1))
        if found.beta is not None:
            y = build.add(y, np.broadcast_to(found.beta, (d,)).reshape(1, d, 1, 1))
        return [found.from_channel_first(build, y)]

    def because(self, found: Norm, context: Context) -> str:
        return self._chosen(found, context)[1].because

    def _chosen(self, found: Norm, context: Context) -> tuple[float, Choice]:
        """The factor that brings the variances around 1, and the form of 1/sqrt for them."""
        variances = _variances(found, context)
        scale = 1 / math.sqrt(float(variances.min() * variances.max()))
        rows = found.shape[2:] if found.of_map else grid(found.rows)
        return scale, self._inverse.choose(context, (1, 1, *rows), variances * scale)


def _variances(found: Norm, context: Context) -> Array:
    """Variances, epsilon among them, of all rows of the samples; some around 1 without samples."""
    arrays = [a.astype(np.float64) for a in context.values(found.x)]
    if not arrays:
        return np.geomspace(1 / UNKNOWN_SPREAD, UNKNOWN_SPREAD, 64)
    moments = [np.var(a, axis=found.axis) if found.centered else np.mean(np.square(a), axis=found.axis) for a in arrays]
    return np.maximum(np.concatenate([m.reshape(-1) for m in moments]) + found.epsilon, 1e-12)
