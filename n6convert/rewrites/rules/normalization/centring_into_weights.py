"""The mean that LayerNorm subtracts, folded into the weights in front: ``LN(x) = LN(P x)``, ``P = I - 1 1^T / D``.

A residual stream is a sum of what layers write to it. Where nothing but LayerNorms read it, directly or through further
sums, its mean over the channels does not matter: P goes into every weight, bias and constant that writes to it, the
mean is zero from then on, and the two steps that take it away vanish ([#transformers], step 6). Exact, and fewer
roundings.

It works on what ``layernorm_decompose.py`` leaves, ``x - Conv(x, 1/D)``, when linear layers are convolutions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.layout import axis_behind, axis_in_front
from n6convert.graph.patterns.slices import axis_of
from n6convert.graph.query import Array, attribute, constant_of, producer, shape_of, single_use, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CenteringIntoWeights"]

_NEAR_ZERO = 1e-5  # of the largest weight: a mean that float32 cannot tell from none


@dataclass
class _Centered:
    x: ir.Value
    channels: int


class CenteringIntoWeights(Rewrite[_Centered]):
    """Fold the mean that LayerNorm subtracts into the convolutions and constants that write to its input."""

    name = "centring-into-weights"
    roots = frozenset({"Sub"})
    late = True

    def pattern(self, node: ir.Node) -> _Centered | None:
        x, full = node.inputs[0], shape_of(node.inputs[0])
        if x is None or full is None or not _is_mean(node.inputs[1], x):
            return None
        return _Centered(x, full[1])

    def check(self, found: _Centered, context: Context) -> str | None:
        above = _Writers(found.channels)
        above.follow(found.x, 1)
        if above.reason is not None:
            return above.reason
        below = _Readers(found.channels)
        for writer in above.found:
            if not writer.centered:
                below.follow(writer.output, writer.axis)
        return below.reason

    def replace(self, found: _Centered, build: Builder, context: Context) -> Sequence[ir.Value]:
        above = _Writers(found.channels)
        above.follow(found.x, 1)
        for writer in above.found:
            if not writer.centered:
                writer.center(build)
        return [found.x]


@dataclass
class _Writer:
    """Constant inputs of a node that put channels into the stream.

    Attributes:
        node: the node that has them.
        output: where what they write enters the stream, its channels along ``axis``.
        parameters: (input, axis of the channels); a negative axis says that one number stands for all channels.
        rows: first and last + 1 of the node's channels that enter the stream there; None: all.
    """

    node: ir.Node
    output: ir.Value
    axis: int
    parameters: list[tuple[int, int]]
    rows: tuple[int, int] | None = None

    @property
    def centered(self) -> bool:
        return all(
            np.abs(mean).max(initial=0.0) <= _NEAR_ZERO * np.abs(part).max(initial=0.0)
            for _, _, part, mean in self._parts()
        )

    def center(self, build: Builder) -> None:
        for index, array, part, mean in self._parts():
            part -= mean
            self.node.replace_input_with(index, build.constant(array))

    def _parts(self) -> Iterator[tuple[int, Array, Array, Array]]:
        """(input, a copy of its array, the view of it that enters the stream, the mean over that one's channels)."""
        for index, axis in self.parameters:
            given = constant_of(self.node.inputs[index])
            assert given is not None
            array = given.astype(np.float64)
            part = array if axis < 0 else array[(*[slice(None)] * axis, slice(*self.rows or (None,)))]
            yield index, array, part, _mean(part, axis)


def _mean(array: Array, axis: int) -> Array:
    return array if axis < 0 else array.mean(axis=axis, keepdims=True)


@dataclass
class _Walk:
    """Values of the stream that were seen, and the first reason why it cannot be changed."""

    channels: int
    reason: str | None = None
    seen: set[tuple[ir.Value, int]] = field(default_factory=set)
    ahead: list[tuple[ir.Value, int]] = field(default_factory=list)

    def follow(self, value: ir.Value, axis: int) -> None:
        """Walk along the stream from a value whose channels lie along ``axis``."""
        self.ahead.append((value, axis))
        while self.ahead and self.reason is None:
            place = self.ahead.pop()
            if place not in self.seen:
                self.seen.add(place)
                self.reason = self.step(*place)

    def step(self, value: ir.Value, axis: int) -> str | None:
        raise NotImplementedError


@dataclass
class _Writers(_Walk):
    """Upwards: what writes to the stream."""

    found: list[_Writer] = field(default_factory=list)

    def step(self, value: ir.Value, axis: int) -> str | None:
        node = producer(value)
        if node is None:
            return f"the input {value.name} comes into the stream with its mean"
        if node.op_type == "Conv" and axis == 1:
            return self._convolution(node, value)
        if node.op_type in ("Add", "Concat") and not (node.op_type == "Concat" and axis_of(node) == axis):
            return self._sum(node, axis)
        if node.op_type == "Split" and axis == 1 == axis_of(node) and producer(node.inputs[0], "Conv") is not None:
            return self._part(node, value)
        before = _axis_before(node, axis)
        if before is None or node.inputs[0] is None:
            return f"{node.op_type} {node.name} writes to the stream and has no weights that could take the mean out"
        self.ahead.append((node.inputs[0], before))
        return None

    def _part(self, split: ir.Node, value: ir.Value) -> str | None:
        """One of the parts into which a convolution's channels are split, each a stream's of its own."""
        conv = producer(split.inputs[0], "Conv")
        sizes = [(shape_of(v) or (0, 0))[1] for v in split.outputs]
        start = sum(sizes[: split.outputs.index(value)])
        if conv is None or not single_use(conv.outputs[0]):
            return f"what {split.op_type} {split.name} takes apart is read as a whole as well"
        return self._convolution(conv, value, (start, start + self.channels))

    def _convolution(self, node: ir.Node, value: ir.Value, rows: tuple[int, int] | None = None) -> str | None:
        given = [i for i, v in enumerate(node.inputs) if i and v is not None]
        if attribute(node, "group", 1) != 1 or any(constant_of(node.inputs[i]) is None for i in given):
            return f"Conv {node.name} writes to the stream in groups or with weights that are computed"
        self.found.append(_Writer(node, value, 1, [(i, 0) for i in given], rows))
        return None

    def _sum(self, node: ir.Node, axis: int) -> str | None:
        rank = len(shape_of(node.outputs[0]) or ())
        constants: list[tuple[int, int]] = []
        for index, value in enumerate(node.inputs):
            full = shape_of(value)
            if value is None or full is None:
                return f"{node.op_type} {node.name} has no static shape"
            own = axis - (rank - len(full))
            repeated = own < 0 or full[own] != self.channels
            if constant_of(value) is not None:
                constants.append((index, -1 if repeated else own))
            elif repeated:
                return f"{node.op_type} {node.name} repeats one number over all channels"
            else:
                self.ahead.append((value, own))
        if constants:
            self.found.append(_Writer(node, node.outputs[0], axis, constants))
        return None


@dataclass
class _Readers(_Walk):
    """Downwards: whether all that reads the stream takes its mean away."""

    def step(self, value: ir.Value, axis: int) -> str | None:
        if value.is_graph_output():
            return f"the output {value.name} of the graph shows the mean"
        for node in users(value):
            if axis == 1 and _takes_mean_away(node, value):
                continue
            behind = _axis_behind(node, value, axis)
            if behind is None:
                return f"{node.op_type} {node.name} reads the stream with its mean"
            self.ahead += [(result, behind) for result in node.outputs]
        return None


def _takes_mean_away(node: ir.Node, value: ir.Value) -> bool:
    """Whether a node is one of the two steps of ``value - mean(value)``."""
    if node.op_type == "Sub":
        return node.inputs[0] is value and _is_mean(node.inputs[1], value)
    return _is_mean(node.outputs[0], value) and all(
        reader.op_type == "Sub" and reader.inputs[0] is value for reader in users(node.outputs[0])
    )


def _is_mean(mean: ir.Value | None, value: ir.Value) -> bool:
    """Whether a value is the mean over the channels of another, as a convolution with one output."""
    conv = producer(mean, "Conv")
    weight = None if conv is None else constant_of(conv.inputs[1])
    if conv is None or weight is None or conv.inputs[0] is not value or len(conv.inputs) > 2:
        return False
    one_output = weight.shape == (1, weight.size, *[1] * (weight.ndim - 2))
    return one_output and bool(np.allclose(weight, 1 / weight.size, rtol=1e-5, atol=0))


def _axis_before(node: ir.Node, axis: int) -> int | None:
    """Where the channels along ``axis`` of a node's output lie in its input; None when it does more than move them."""
    if node.op_type in ("Slice", "Split"):
        return None if axis_of(node) in (axis, None) else axis
    return axis_in_front(node, axis)


def _axis_behind(node: ir.Node, value: ir.Value, axis: int) -> int | None:
    """The same downwards, through sums and joins as well."""
    if node.op_type in ("Slice", "Split", "Concat"):
        return None if axis_of(node) in (axis, None) else axis
    if node.op_type == "Add":
        full, result = shape_of(value) or (), shape_of(node.outputs[0]) or ()
        own = axis + len(result) - len(full)
        return own if result and result[own] == full[axis] else None
    return axis_behind(node, axis)
