"""InstanceNormalization takes mean and variance of each channel from global pools::

m = GlobalAveragePool(x)   c = x - m   v = GlobalAveragePool(c*c) + eps   y = c * (1/sqrt(v)) * gamma + beta
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import (
    Array,
    attribute,
    constant_of,
    grid,
    is_float,
    shape_of,
)
from n6convert.rewrites.reciprocal import UNKNOWN_SPREAD, Choice, Inverse
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["InstanceNormDecompose"]


@dataclass
class _Instance:
    x: ir.Value
    gamma: Array
    beta: Array
    epsilon: float


class InstanceNormDecompose(Rewrite[_Instance]):
    """Write InstanceNormalization as global pools, one-sided broadcasts and an ACTIV function."""

    name = "instancenorm-decompose"
    roots = frozenset({"InstanceNormalization"})

    def __init__(self) -> None:
        self._inverse = Inverse(-0.5)

    def pattern(self, node: ir.Node) -> _Instance | None:
        gamma, beta, x = constant_of(node.inputs[1]), constant_of(node.inputs[2]), node.inputs[0]
        full = shape_of(x)
        if gamma is None or beta is None or x is None or full is None or full[0] != 1 or not is_float(x):
            return None
        return _Instance(x, gamma, beta, float(attribute(node, "epsilon", 1e-5)))

    def replace(self, found: _Instance, build: Builder, context: Context) -> Sequence[ir.Value]:
        full = shape_of(found.x) or ()
        c, x = full[1], found.x
        if len(full) != 4:  # groups of channels seen as channels, [1, groups, rest]
            x = build.reshape(x, [1, c, *grid(math.prod(full[2:]))])
        pooled = [[1, c, 1, 1]]
        centered = build.sub(x, build.node("GlobalAveragePool", [x], pooled)[0])
        scale, choice = self._chosen(found, context)
        mean = build.node("GlobalAveragePool", [build.mul(centered, centered)], pooled)[0]
        inverse = choice.form.write(build, build.add(build.mul(mean, scale), scale * found.epsilon))
        gamma = found.gamma.reshape(1, c, 1, 1) * choice.form.factor * math.sqrt(scale)
        scaled = build.mul(centered, build.mul(inverse, gamma))
        shifted = build.add(scaled, found.beta.reshape(1, c, 1, 1)) if found.beta.any() else scaled
        return [build.reshape(shifted, full)]

    def because(self, found: _Instance, context: Context) -> str:
        return self._chosen(found, context)[1].because

    def _chosen(self, found: _Instance, context: Context) -> tuple[float, Choice]:
        """The factor that brings the variances around 1, and the form of 1/sqrt for them."""
        variances = _variances(found, context)
        scale = 1 / math.sqrt(float(variances.min() * variances.max()))
        shape = (1, (shape_of(found.x) or (1, 1))[1], 1, 1)
        return scale, self._inverse.choose(context, shape, variances * scale)


def _variances(found: _Instance, context: Context) -> Array:
    arrays = [np.var(a.astype(np.float64), axis=tuple(range(2, a.ndim))) for a in context.values(found.x)]
    if not arrays:
        return np.geomspace(1 / UNKNOWN_SPREAD, UNKNOWN_SPREAD, 64)
    return np.maximum(np.concatenate([a.reshape(-1) for a in arrays]) + found.epsilon, 1e-12)
