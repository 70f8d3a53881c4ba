"""Awkward numbers of channels are rounded up: zero rows in the convolutions that make them, zero columns behind.

The units take channels in groups that divide their number ([#convolution-plan]): 37, 53 or 61 run one by one, 40, 56
or 64 in eights. Depthwise convolutions, pools, activations and sums in between keep channels apart, so the zeros never
meet the others. Whether it pays is decided by the predicted times of the convolutions concerned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, constant_of, producer, shape_of, users
from n6convert.rewrites.isolated import time_alone
from n6convert.rewrites.rule import Context, Rewrite
from n6convert.rewrites.rules.convolution.fold_into_conv import conv_parameters

__all__ = ["GROUPS", "PadChannels", "followed_channels"]

GROUPS = (8, 24)
"""Numbers of channels that the units take at once ([#convolution-plan])."""
_BINARY = frozenset({"Add", "Sub", "Mul", "PRelu"})
_FINITE = frozenset({"Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Erf"})
_POOLS = frozenset({"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"})


@dataclass
class _Channels:
    """Everything that the channels of one convolution pass through."""

    count: int
    values: dict[ir.Value, None] = field(default_factory=dict)
    makers: dict[ir.Node, None] = field(default_factory=dict)
    readers: dict[ir.Node, None] = field(default_factory=dict)
    others: dict[ir.Node, None] = field(default_factory=dict)
    """Depthwise convolutions and elementwise operators with constants per channel."""

    def include(self, value: ir.Value) -> bool:
        """Follow a value both ways; False where its channels cannot be added to."""
        queue = [value]
        while queue:
            value = queue.pop()
            full = shape_of(value)
            if value in self.values:
                continue
            if full is None or len(full) != 4 or full[1] != self.count or value.is_graph_output():
                return False
            self.values[value] = None
            made, read = self._maker(value), [self._reader(n, value) for n in users(value)]
            if made is None or any(r is None for r in read):
                return False
            queue += [*made, *(v for r in read for v in r or ())]
        return True

    def _maker(self, value: ir.Value) -> list[ir.Value] | None:
        node = producer(value)
        if node is not None and node.op_type == "Conv" and not _depthwise(node):
            self.makers[node] = None
            return [] if _dense(node) else None
        return None if node is None else self._passing(node)

    def _reader(self, node: ir.Node, value: ir.Value) -> list[ir.Value] | None:
        if node.op_type == "Conv" and not _depthwise(node):
            self.readers[node] = None
            return [] if _dense(node) and node.inputs[0] is value else None
        return self._passing(node)

    def _passing(self, node: ir.Node) -> list[ir.Value] | None:
        """The values on both sides of an operator that keeps channels apart."""
        activations = [v for v in node.inputs if v is not None and constant_of(v) is None]
        if node.op_type == "Conv":
            self.others[node] = None
            return [*activations, *node.outputs] if all(constant_of(v) is not None for v in node.inputs[1:]) else None
        if node.op_type in _FINITE | _POOLS:
            return [*activations, *node.outputs] if len(node.outputs) == 1 else None
        full = shape_of(node.outputs[0])
        if node.op_type not in _BINARY or full is None or len(full) != 4:
            return None
        self.others[node] = None
        return [*(v for v in activations if (shape_of(v) or (0,))[1:2] == (self.count,)), *node.outputs]


class PadChannels(Rewrite[_Channels]):
    """Round awkward numbers of channels up where that is predicted faster."""

    name = "pad-channels"
    roots = frozenset({"Conv"})
    late = True

    def __init__(self) -> None:
        self._times: dict[tuple[object, ...], float] = {}

    def pattern(self, node: ir.Node) -> _Channels | None:
        found = followed_channels(node)
        return found if found is not None and next(iter(found.makers)) is node else None

    def check(self, found: _Channels, context: Context) -> str | None:
        now, (count, best) = self._time(found, found.count, context), self._best(found, context)
        if now < best:
            return f"{found.count} channels are predicted at {now:.3f} ms, {count} at {best:.3f} ms"
        return None

    def because(self, found: _Channels, context: Context) -> str:
        if context.timer is None:
            return ""
        now, (count, best) = self._time(found, found.count, context), self._best(found, context)
        return f"{count} channels alone {best:.3f} ms instead of {found.count} {now:.3f} ms"

    def replace(self, found: _Channels, build: Builder, context: Context) -> Sequence[ir.Value] | None:
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

    def _best(self, found: _Channels, context: Context) -> tuple[int, float]:
        counts = dict.fromkeys(-(-found.count // g) * g for g in GROUPS)
        return min(((c, self._time(found, c, context)) for c in counts), key=lambda pair: pair[1])

    def _time(self, found: _Channels, count: int, context: Context) -> float:
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
                self._times[key] = time_alone(
                    context, [(1, columns, *full[2:])], lambda build, x, w=kernel, k=kept: build.conv(x, w, **k)
                )
            total += self._times[key]
        return total


def followed_channels(conv: ir.Node) -> _Channels | None:
    """All that a convolution's awkward number of channels pass through; None where zeros cannot be added."""
    full = shape_of(conv.outputs[0])
    if full is None or len(full) != 4 or full[1] % GROUPS[0] == 0 or not _dense(conv):
        return None
    found = _Channels(full[1])
    return found if found.include(conv.outputs[0]) else None


def _depthwise(conv: ir.Node) -> bool:
    weight = constant_of(conv.inputs[1])
    return weight is not None and weight.shape[1] == 1 and attribute(conv, "group", 1) == weight.shape[0] > 1


def _dense(conv: ir.Node) -> bool:
    plain = attribute(conv, "group", 1) == 1 and attribute(conv, "auto_pad", "NOTSET") == "NOTSET"
    return plain and all(constant_of(v) is not None for v in conv.inputs[1:] if v is not None)


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
