"""Pools in the sizes that the units have ([#onnx-operators], [#geometry]): windows up to 3x3, strides up to 15.

A pool whose window is the whole map is a global pool. A pool whose stride is its window is one of smaller windows after
the other, ``pool(a b) = pool(b) . pool(a)``, exact for averages and maxima.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import attribute, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["PoolForms"]

_NATIVE = 3
_GLOBAL = {"AveragePool": "GlobalAveragePool", "MaxPool": "GlobalMaxPool"}


@dataclass
class _Pool:
    op: str
    x: ir.Value
    windows: list[list[int]]
    """Height and width of one pool after the other; empty for a global pool."""


class PoolForms(Rewrite[_Pool]):
    """Write pools over the whole map as global pools, large ones as several of small windows."""

    name = "pool-forms"
    roots = frozenset(_GLOBAL)

    def pattern(self, node: ir.Node) -> _Pool | None:
        x, full, result = node.inputs[0], shape_of(node.inputs[0]), shape_of(node.outputs[0])
        kernel = attribute(node, "kernel_shape")
        if x is None or full is None or result is None or len(full) != 4 or not is_float(x) or len(node.outputs) != 1:
            return None
        if any(attribute(node, "pads") or []) or attribute(node, "auto_pad", "NOTSET") != "NOTSET":
            return None
        if attribute(node, "ceil_mode", 0) or set(attribute(node, "dilations") or [1]) != {1}:
            return None
        if tuple(kernel) == full[2:]:
            return _Pool(node.op_type, x, [])
        if kernel != list(attribute(node, "strides") or [1, 1]) or max(kernel) <= _NATIVE:
            return None
        if any(side % k for side, k in zip(full[2:], kernel, strict=True)):
            return None
        windows = _windows(kernel)
        return _Pool(node.op_type, x, windows) if len(windows) > 1 else None

    def replace(self, found: _Pool, build: Builder, context: Context) -> Sequence[ir.Value]:
        x, full = found.x, list(shape_of(found.x) or ())
        if not found.windows:
            return [build.node(_GLOBAL[found.op], [x], [[*full[:2], 1, 1]])[0]]
        for window in found.windows:
            full = [*full[:2], full[2] // window[0], full[3] // window[1]]
            x = build.node(found.op, [x], [full], kernel_shape=window, strides=window)[0]
        return [x]


def _windows(kernel: Sequence[int]) -> list[list[int]]:
    """Native windows one after the other; a prime factor that is too large stays one window."""
    factors = [_factors(k) for k in kernel]
    steps = max(len(f) for f in factors)
    return [[f[i] if i < len(f) else 1 for f in factors] for i in range(steps)]


def _factors(number: int) -> list[int]:
    for size in (3, 2):
        if number > _NATIVE and number % size == 0:
            return [size, *_factors(number // size)]
    return [number]
