"""A convolution that only picks values and its neighbor are one: ``W2 (W1 x + b1) + b2 = (W2 * W1) x + (W2 b1 + b2)``.

With kernels k1, k2 and strides s1, s2 the one has a kernel of ``k1 + (k2 - 1) s1`` and stride ``s1 s2``. Pads of the
second become pads of the first where its bias is zero. Permutations of channels and space-to-depth, written as
convolutions by other rules, vanish this way, where the one is predicted faster than the two. Two dense convolutions
stay two: their product has weights that neither was trained to have, and 8 bits are for the trained ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.conv import PlainConv, read_conv
from n6convert.graph.query import producer, shape_of, single_use
from n6convert.rewrites.isolated import isolated_latency
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["MergeConvs"]

_MAX_KERNEL = 12  # wider ones are taken apart again ([#geometry])


@dataclass
class _Pair:
    x: ir.Value
    first: PlainConv
    second: PlainConv

    @property
    def one(self) -> PlainConv:
        a, b, s = self.first, self.second, self.first.strides
        kernel = [a.weight.shape[2 + i] + (b.weight.shape[2 + i] - 1) * s[i] for i in (0, 1)]
        weight = np.zeros((b.weight.shape[0], a.weight.shape[1], *kernel), np.float32)
        for y in range(b.weight.shape[2]):
            for x in range(b.weight.shape[3]):
                part = np.einsum("om,mihw->oihw", b.weight[:, :, y, x], a.weight)
                weight[:, :, y * s[0] : y * s[0] + part.shape[2], x * s[1] : x * s[1] + part.shape[3]] += part
        bias = b.bias + b.weight.sum(axis=(2, 3)) @ a.bias
        pads = [p * s[i % 2] + q for i, (p, q) in enumerate(zip(b.pads, a.pads, strict=True))]
        return PlainConv(weight, bias.astype(np.float32), [p * q for p, q in zip(s, b.strides, strict=True)], pads)


class MergeConvs(Rewrite[_Pair]):
    """Merge a convolution that picks values with the one next to it."""

    name = "merge-convs"
    roots = frozenset({"Conv"})

    def __init__(self) -> None:
        self._times: dict[tuple[object, ...], tuple[float, float]] = {}

    def pattern(self, node: ir.Node) -> _Pair | None:
        inner = producer(node.inputs[0], "Conv")
        x = None if inner is None else inner.inputs[0]
        if (
            inner is None
            or x is None
            or shape_of(x) is None
            or node.inputs[0] is None
            or not single_use(node.inputs[0])
        ):
            return None
        first, second = read_conv(inner), read_conv(node)
        if first is None or second is None or (any(second.pads) and (first.bias.any() or any(first.pads))):
            return None
        if not (_is_selection(first) or _is_selection(second)):
            return None
        pair = _Pair(x, first, second)
        return pair if max(pair.one.weight.shape[2:]) <= _MAX_KERNEL else None

    def check(self, found: _Pair, context: Context) -> str | None:
        two, one = self._weighed(found, context)
        return None if one < two else f"the two are predicted at {two:.3f} ms, one at {one:.3f} ms"

    def because(self, found: _Pair, context: Context) -> str:
        two, one = self._weighed(found, context)
        return f"one Conv alone {one:.3f} ms instead of two {two:.3f} ms"

    def replace(self, found: _Pair, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [found.one.write(build, found.x)]

    def _weighed(self, found: _Pair, context: Context) -> tuple[float, float]:
        full = shape_of(found.x) or ()
        parts = [(c.weight.shape, *c.strides, *c.pads) for c in (found.first, found.second)]
        key = (full, *parts)
        if key not in self._times:
            two = isolated_latency(context, [full], lambda b, x: found.second.write(b, found.first.write(b, x)))
            self._times[key] = two, isolated_latency(context, [full], lambda b, x: found.one.write(b, x))
        return self._times[key]


def _is_selection(conv: PlainConv) -> bool:
    """True when every output is one input, times a number."""
    return bool((np.count_nonzero(conv.weight, axis=(1, 2, 3)) <= 1).all())
