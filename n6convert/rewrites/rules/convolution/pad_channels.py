"""Awkward numbers of channels are rounded up: zero rows in the convolutions that make them, zero columns behind.

The units take channels in groups that divide their number ([#convolution-plan]): 37, 53 or 61 run one by one, 40, 56
or 64 in eights. Depthwise convolutions, pools, activations and sums in between keep channels apart, so the zeros never
meet the others. Whether it pays is decided by the predicted times of the convolutions concerned.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.channels import GROUPS, FollowedChannels, followed_channels
from n6convert.graph.patterns.conv import conv_parameters
from n6convert.graph.query import Array, attribute, constant_of, shape_of
from n6convert.rewrites.isolated import isolated_latency
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["PadChannels"]


class PadChannels(Rewrite[FollowedChannels]):
    """Round awkward numbers of channels up where that is predicted faster."""

    name = "pad-channels"
    roots = frozenset({"Conv"})
    late = True

    def __init__(self) -> None:
        self._times: dict[tuple[object, ...], float] = {}

    def pattern(self, node: ir.Node) -> FollowedChannels | None:
        found = followed_channels(node)
        return found if found is not None and next(iter(found.makers)) is node else None

    def check(self, found: FollowedChannels, context: Context) -> str | None:
        now, (count, best) = self._time(found, found.count, context), self._best(found, context)
        if now < best:
            return f"{found.count} channels are predicted at {now:.3f} ms, {count} at {best:.3f} ms"
        return None

    def because(self, found: FollowedChannels, context: Context) -> str:
        if context.timer is None:
            return ""
        now, (count, best) = self._time(found, found.count, context), self._best(found, context)
        return f"{count} channels alone {best:.3f} ms instead of {found.count} {now:.3f} ms"

    def replace(self, found: FollowedChannels, build: Builder, context: Context) -> Sequence[ir.Value] | None:
        more = self._best(found, context)[0] - found.count
        for node in dict.fromkeys([*found.makers, *found.readers]):
            rows, columns = more * (node in found.makers), more * (node in found.readers)
            weight, bias = conv_parameters(node)
            node.replace_input_with(1, build.constant(np.pad(weight, ((0, rows), (0, columns), (0, 0), (0, 0)))))
            if len(node.inputs) > 2:
                node.replace_input_with(2, build.constant(np.pad(bias, (0, rows))))
        for node in found.others:
            _widen(node, build, found.count, more)
        for value in found.values:
            full = list(shape_of(value) or ())
            value.shape = ir.Shape([full[0], full[1] + more, *full[2:]])
            value.name = f"{value.name}/~{self.name}"
        return None

    def _best(self, found: FollowedChannels, context: Context) -> tuple[int, float]:
        counts = dict.fromkeys(-(-found.count // g) * g for g in GROUPS)
        return min(((c, self._time(found, c, context)) for c in counts), key=lambda pair: pair[1])

    def _time(self, found: FollowedChannels, count: int, context: Context) -> float:
        """Predicted milliseconds of all convolutions concerned, each alone, with another number of channels."""
        total = 0.0
        for node in dict.fromkeys([*found.makers, *found.readers]):
            full, weight = shape_of(node.inputs[0]) or (), conv_parameters(node)[0]
            rows = count if node in found.makers else weight.shape[0]
            columns = count if node in found.readers else weight.shape[1]
            kept = {k: attribute(node, k) for k in ("strides", "pads", "dilations")}
            key = (full[2:], rows, columns, weight.shape[2:], *(tuple(v or ()) for v in kept.values()))
            if key not in self._times:
                kernel = np.ones((rows, columns, *weight.shape[2:]), np.float32)
                self._times[key] = isolated_latency(
                    context, [(1, columns, *full[2:])], lambda build, x, w=kernel, k=kept: build.conv(x, w, **k)
                )
            total += self._times[key]
        return total


def _widen(node: ir.Node, build: Builder, count: int, more: int) -> None:
    """Add zeros to the constants per channel of a depthwise Conv or an elementwise operator."""
    axis = 0 if node.op_type == "Conv" else 1
    for i, value in enumerate(node.inputs):
        data = constant_of(value)
        if data is None or value is None:
            continue
        wide = data if axis == 0 else data.reshape([1] * (4 - data.ndim) + list(data.shape))
        if wide.shape[axis] == count:
            node.replace_input_with(i, build.constant(_padded(wide, axis, more)))
    if node.op_type == "Conv":
        node.attributes["group"] = ir.AttrInt64("group", count + more)


def _padded(data: Array, axis: int, more: int) -> Array:
    return np.pad(data, [(0, more) if i == axis else (0, 0) for i in range(data.ndim)])
