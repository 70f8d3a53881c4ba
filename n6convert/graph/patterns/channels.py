"""Everything that the channels of one convolution pass through on the way to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from n6convert.graph.operators import GLOBAL_POOLS, SUMS_AND_PRODUCTS, WINDOW_POOLS
from n6convert.graph.query import (
    attribute,
    constant_of,
    producer,
    shape_of,
    users,
)

__all__ = ["FollowedChannels", "GROUPS", "followed_channels", "is_depthwise"]


GROUPS = (8, 24)
"""Numbers of channels that the units take at once ([#convolution-plan])."""


_BINARY = SUMS_AND_PRODUCTS | {"PRelu"}


_FINITE = frozenset({"Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Erf"})


_POOLS = WINDOW_POOLS | GLOBAL_POOLS


@dataclass
class FollowedChannels:
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
        if node is not None and node.op_type == "Conv" and not is_depthwise(node):
            self.makers[node] = None
            return [] if _dense(node) else None
        return None if node is None else self._passing(node)

    def _reader(self, node: ir.Node, value: ir.Value) -> list[ir.Value] | None:
        if node.op_type == "Conv" and not is_depthwise(node):
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


def followed_channels(conv: ir.Node) -> FollowedChannels | None:
    """All that a convolution's awkward number of channels pass through; None where zeros cannot be added."""
    full = shape_of(conv.outputs[0])
    if full is None or len(full) != 4 or full[1] % GROUPS[0] == 0 or not _dense(conv):
        return None
    found = FollowedChannels(full[1])
    return found if found.include(conv.outputs[0]) else None


def is_depthwise(conv: ir.Node) -> bool:
    """Whether a convolution with constant weights has a kernel of its own for every one of several channels."""
    weight = constant_of(conv.inputs[1])
    return weight is not None and weight.shape[1] == 1 and attribute(conv, "group", 1) == weight.shape[0] > 1


def _dense(conv: ir.Node) -> bool:
    plain = attribute(conv, "group", 1) == 1 and attribute(conv, "auto_pad", "NOTSET") == "NOTSET"
    return plain and all(constant_of(v) is not None for v in conv.inputs[1:] if v is not None)
