"""LayerNorm and RMSNorm over channels in steps that the NPU has (SPEC n.3), channel-first on ``[1, D, h, w]``::

    m = Conv(x, 1/D)              c = x - m                (RMSNorm: c = x)
    v = Conv(c*c, k/D) + k*eps    r = 1/sqrt(v)            y = c * r * (gamma * sqrt(k)) + beta

Means are 1x1 Convs with one output, so every broadcast has one repeated side; eps is the second Conv's bias; k = 1 / (a
typical variance) puts v into the middle of the range of the function that stands for 1/sqrt. Exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.build import Builder
from n6convert.rewrites.graph import is_float
from n6convert.rewrites.norm_pattern import Norm, find_norm
from n6convert.rewrites.reciprocal import rsqrt

__all__ = ["LayerNormDecompose"]


class LayerNormDecompose(Rewrite[Norm]):
    """Write LayerNorm and RMSNorm as convolutions, one-sided broadcasts and an ACTIV function."""

    name = "layernorm-decompose"
    roots = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization", "Add", "Mul", "Div"})

    def pattern(self, node: ir.Node) -> Norm | None:
        return find_norm(node)

    def check(self, found: Norm, context: Context) -> str | None:
        if not is_float(found.x):
            return "its input is not float32"
        if max(found.rows, found.channels) >= 1 << 16:
            return f"an axis of {max(found.rows, found.channels)} exceeds the compiler's limit of 65,535"
        return None

    def replace(self, found: Norm, build: Builder, context: Context) -> Sequence[ir.Value]:
        d = found.channels
        x = found.to_channel_first(build)
        centred = build.sub(x, build.pointwise(x, np.full((1, d), 1 / d))) if found.centred else x
        scale = 1 / _typical_variance(found, context)
        ones = np.full((1, d), scale / d)
        variance = build.pointwise(build.mul(centred, centred), ones, np.array([scale * found.epsilon]))
        inverse, factor = rsqrt(build, context, variance)
        gamma = np.broadcast_to(found.gamma, (d,)) * factor * math.sqrt(scale)
        y = build.mul(build.mul(centred, inverse), gamma.reshape(1, d, 1, 1))
        if found.beta is not None:
            y = build.add(y, np.broadcast_to(found.beta, (d,)).reshape(1, d, 1, 1))
        return [found.from_channel_first(build, y)]


def _typical_variance(found: Norm, context: Context) -> float:
    """Geometric middle of the variances on the samples; 1 without samples."""
    arrays = context.values(found.x)
    if not arrays:
        return 1.0
    moments = [
        (np.var(a, axis=found.axis) if found.centred else np.mean(np.square(a), axis=found.axis)) + found.epsilon
        for a in arrays
    ]
    low, high = min(float(m.min()) for m in moments), max(float(m.max()) for m in moments)
    return math.sqrt(max(low, 1e-12) * max(high, 1e-12))
