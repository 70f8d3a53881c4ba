"""Softmax and LogSoftmax over one axis in steps that the NPU has ([#transformers]), on rows ``[1, R, S]``::

    d = max(s - max(s), -14)      e = exp(d)      t = mean(e)      p = e * (1/(S t))
    log p = s - max(s) - log(S t),      log(z) = asinh(F z) - log(2 F)

Maximum and mean are global pools over the last axis; 1/t comes from :mod:`n6convert.rewrites.reciprocal`. Exact but for
e below 1e-6, which 8 bits do not see; the bound gives exp a fine grid, and as its producer's saturation it costs no
operator. S t is 1 at least: with F = 200 the logarithm is off by less than 6e-6. Of the alternatives, one fixed shift
instead of the row's maximum loses everything in 8 bits ([#transformers]).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import AXIS_LIMIT, Builder
from n6convert.graph.query import attribute, is_float, shape_of
from n6convert.rewrites.reciprocal import Choice, Inverse
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["SoftmaxDecompose"]

_DEEPEST = 14.0  # below a row's maximum
_FAR = 200.0  # from here on asinh(z) and log(2 z) are the same
_MAX_SLICES = 32  # as many as transpose-by-slices takes apart


@dataclass
class _Softmax:
    x: ir.Value
    shape: tuple[int, ...]
    axis: int
    log: bool = False


class SoftmaxDecompose(Rewrite[_Softmax]):
    """Write Softmax as maximum, Exp, mean and reciprocal, LogSoftmax as maximum, Exp, mean and Asinh."""

    name = "softmax-decompose"
    roots = frozenset({"Softmax", "LogSoftmax"})
    late = True

    def __init__(self) -> None:
        self._inverse = Inverse(-1.0)

    def pattern(self, node: ir.Node) -> _Softmax | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        if x is None or full is None or not is_float(x):
            return None
        opset = node.graph.opset_imports.get("", 17) if isinstance(node.graph, ir.Graph) else 17
        axis = attribute(node, "axis", -1 if opset >= 13 else 1) % len(full)
        if opset < 13 and math.prod(full[axis + 1 :]) != 1:
            return None
        return _Softmax(x, full, axis, node.op_type == "LogSoftmax")

    def check(self, found: _Softmax, context: Context) -> str | None:
        if "expand-softmax" in context.switches and not found.log:
            return "it is left to the compiler: the target is compiled with --expand-softmax"
        size = found.shape[found.axis]
        before, after = math.prod(found.shape[: found.axis]), math.prod(found.shape[found.axis + 1 :])
        if before > _MAX_SLICES and after > 1:
            return f"axis {found.axis} of {list(found.shape)} lies between two others: it cannot become the last one"
        if max(size, before * after) >= AXIS_LIMIT:
            return f"an axis of {max(size, before * after)} exceeds the compiler's limit of 65,535"
        return None

    def replace(self, found: _Softmax, build: Builder, context: Context) -> Sequence[ir.Value]:
        size = found.shape[found.axis]
        rows = math.prod(found.shape) // size
        before, after = math.prod(found.shape[: found.axis]), math.prod(found.shape[found.axis + 1 :])
        x = build.transpose(build.reshape(found.x, [before, size, after]), [0, 2, 1]) if after > 1 else found.x
        x = build.reshape(x, [1, rows, size])
        below = build.sub(x, build.max_last(x))
        e = build.unary("Exp", build.clip(below, -_DEEPEST, None))
        total = build.mean_last(e)
        if found.log:
            log = build.add(build.unary("Asinh", build.mul(total, _FAR * size)), -math.log(2 * _FAR))
            p = build.sub(below, log)
        else:
            form = self._chosen(found, context).form
            p = build.mul(e, build.mul(form.write(build, total), form.factor / size))
        if after > 1:
            p = build.transpose(build.reshape(p, [before, after, size]), [0, 2, 1])
        return [build.reshape(p, found.shape)]

    def because(self, found: _Softmax, context: Context) -> str:
        return "" if found.log else self._chosen(found, context).because

    def _chosen(self, found: _Softmax, context: Context) -> Choice:
        """The form of 1/t: a row's mean lies between 1/S, one score far above the others, and 1."""
        size = found.shape[found.axis]
        rows = math.prod(found.shape) // size
        return self._inverse.choose(context, (1, rows, 1), np.geomspace(1 / max(size, 2), 1, 256))
