"""Parts of a joined tensor are taken before it is joined: ``cut(Concat(a, b)) = Concat(cut(a), cut(b))``.

A detection head joins boxes and classes of every scale, only to take them apart again behind the join. Slice and Split
are followed upwards as a choice of channels, through Reshapes and Concats, to tensors that are taken as a whole or to
convolutions, of which only the chosen rows are computed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.operators import PARTS
from n6convert.graph.patterns.conv import conv_parameters, rebuild_conv
from n6convert.graph.patterns.slices import axis_of, slice_bounds
from n6convert.graph.query import Array, attribute, constant_of, is_float, producer, shape_of, users
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["CutBeforeJoin"]

#: tensors between a cut and the whole tensors that it is made of
_STEPS = 64


@dataclass
class _Chosen:
    """Rows ``rows`` of a tensor seen as ``[channels, rest]``."""

    value: ir.Value
    rows: Array
    channels: int

    @property
    def rest(self) -> int:
        return math.prod(shape_of(self.value) or ()) // self.channels

    @property
    def whole(self) -> bool:
        return len(self.rows) == self.channels and bool((np.diff(self.rows) == 1).all())


@dataclass
class _Cut:
    node: ir.Node
    parts: list[_Chosen]


class CutBeforeJoin(Rewrite[_Cut]):
    """Take the parts of a joined tensor before it is joined."""

    name = "cut-before-join"
    roots = PARTS

    def pattern(self, node: ir.Node) -> _Cut | None:
        axis, full = axis_of(node), shape_of(node.inputs[0])
        if axis is None or full is None or not is_float(node.inputs[0]):
            return None
        parts = list(_rows(node, axis, full))
        return _Cut(node, parts) if parts and all(_reaches(p) for p in parts) and _only_cut(node) else None

    def replace(self, found: _Cut, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [
            build.reshape(_take(build, part), shape_of(v) or ())
            for part, v in zip(found.parts, found.node.outputs, strict=True)
        ]


def _rows(node: ir.Node, axis: int, full: Sequence[int]) -> Iterator[_Chosen]:
    """The rows that every output of a cut is made of."""
    x = node.inputs[0]
    channels = math.prod(full[: axis + 1])
    numbers = np.arange(channels).reshape(-1, full[axis])
    if node.op_type == "Slice":
        start, stop, _, step = (int(part[0]) for part in slice_bounds(node))
        cuts = [slice(start, stop if stop >= -full[axis] else None, step)]
    else:
        ends = np.cumsum([0, *((shape_of(v) or ())[axis] for v in node.outputs)])
        cuts = [slice(int(a), int(b)) for a, b in zip(ends, ends[1:], strict=False)]
    for cut in cuts:
        assert x is not None
        yield _Chosen(x, numbers[:, cut].reshape(-1), channels)


def _sources(chosen: _Chosen) -> tuple[str, list[_Chosen]] | None:
    """One step up: how the chosen rows are made of rows of other tensors, and of which; None at the end."""
    node = producer(chosen.value, "Reshape", "Concat")
    if node is None:
        return None
    if node.op_type == "Reshape":
        x = node.inputs[0]
        sizes = np.cumprod(shape_of(x) or (0,))
        return (
            ("same", [_Chosen(x, chosen.rows, chosen.channels)]) if x is not None and chosen.channels in sizes else None
        )
    full, axis = shape_of(chosen.value) or (), attribute(node, "axis") % len(shape_of(chosen.value) or (1,))
    inputs = [v for v in node.inputs if v is not None and constant_of(v) is None]
    if len(inputs) != len(node.inputs) or any(shape_of(v) is None for v in inputs):
        return None
    if math.prod(full[:axis]) == chosen.channels:
        return "rest", [_Chosen(v, chosen.rows, chosen.channels) for v in inputs]
    if math.prod(full[:axis]) != 1 or math.prod(full[: axis + 1]) != chosen.channels:
        return None
    return _of_parts(chosen, inputs, axis)


def _of_parts(chosen: _Chosen, inputs: Sequence[ir.Value], axis: int) -> tuple[str, list[_Chosen]] | None:
    """Rows of the inputs of a Concat along the rows; None when they are not in order."""
    if (np.diff(chosen.rows) < 0).any():
        return None
    found, first = [], 0
    for value in inputs:
        size = (shape_of(value) or ())[axis]
        inside = chosen.rows[(chosen.rows >= first) & (chosen.rows < first + size)] - first
        if len(inside):
            found.append(_Chosen(value, inside, size))
        first += size
    return "rows", found


def _reaches(chosen: _Chosen, joins: int = 0, steps: int = 0) -> bool:
    """True when every branch ends in a whole tensor or a convolution's rows, with a join on the way."""
    above = _sources(chosen)
    if above is not None and (above[0] == "same" or len(users(chosen.value)) == 1 or joins == 0):
        return steps < _STEPS and all(_reaches(c, joins + (above[0] != "same"), steps + 1) for c in above[1])
    return joins > 0 and (chosen.whole or _conv(chosen) is not None)


def _conv(chosen: _Chosen) -> ir.Node | None:
    """The convolution whose rows are chosen, when nothing else reads it."""
    conv, full = producer(chosen.value, "Conv"), shape_of(chosen.value)
    if conv is None or full is None or full[:2] != (1, chosen.channels) or len(full) != 4:
        return None
    plain = (
        attribute(conv, "group", 1) == 1
        and len(users(chosen.value)) == 1
        and all(constant_of(v) is not None for v in conv.inputs[1:])
    )
    return conv if plain else None


def _only_cut(node: ir.Node) -> bool:
    """True when the joined tensor is read by cuts alone: otherwise rows would be computed twice."""
    value = node.inputs[0]
    assert value is not None
    while not value.is_graph_output() and all(n.op_type in PARTS or n.op_type == "Reshape" for n in users(value)):
        maker = producer(value, "Reshape")
        if maker is None or maker.inputs[0] is None:
            return True
        value = maker.inputs[0]
    return False


def _take(build: Builder, chosen: _Chosen) -> ir.Value:
    """The chosen rows as ``[1, rows, rest]``."""
    above = _sources(chosen)
    to = [1, len(chosen.rows), chosen.rest]
    if above is not None:
        parts = [_take(build, c) for c in above[1]]
        return build.reshape(build.concat(parts, axis=2 if above[0] == "rest" else 1), to)
    conv = None if chosen.whole else _conv(chosen)
    if conv is None:
        return build.reshape(chosen.value, to)
    weight, bias = conv_parameters(conv)
    return build.reshape(rebuild_conv(build, conv, weight[chosen.rows], bias[chosen.rows]), to)
