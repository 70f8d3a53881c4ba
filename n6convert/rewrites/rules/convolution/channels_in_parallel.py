"""A convolution and what follows it channel by channel, as groups of channels side by side::

    f(conv(x))  =  Concat_g( f_g(conv_g(x)) )        f: functions of one value, x Sigmoid(x), depthwise convolutions

A unit gives one output a cycle ([#compute-cycles]), and a convolution that reads few channels takes one of the four
units: 32 channels of 112x112 are 401,408 cycles. Convolutions without a path between them share an epoch, which then
costs what the longest costs: two in r03, r15, r27, r39, four on 4.0.1 (r52, [#convolutions-in-parallel]). So groups of
output channels, each with its own activation and its own channels of the depthwise convolution behind, take a half or a
quarter of the time; one Concat of equal parts, a DMA copy, joins them. A depthwise convolution alone is cut in front by
an equal Split. Exact: every value is computed from the same
numbers. How many groups, or none, is decided by the predicted time of the chain alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.operators import SUMS_AND_PRODUCTS
from n6convert.graph.patterns.channels import is_depthwise
from n6convert.graph.patterns.conv import conv_parameters, rebuild_conv
from n6convert.graph.query import attribute, constant_of, elements, is_float, producer, shape_of, users
from n6convert.rewrites.isolated import isolated_latency
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["ChannelsInParallel"]

_GROUPS = (2, 4)
_LEAST_CHANNELS = 4
"""Channels of a group; fewer would leave most of every memory beat empty."""
_LEAST_OUTPUTS = 1 << 14
"""Results of the first convolution; every epoch more costs a start of 2,000 cycles ([#epoch-time])."""
_WORTH, _LEAST_SAVED = 0.95, 0.03
"""Share of the chain's time, and milliseconds, that groups, and twice as many, must save: each is one more layer to
quantize."""
_FUNCTIONS = frozenset(
    {"Relu", "LeakyRelu", "HardSwish", "HardSigmoid", "Sigmoid", "Tanh", "Erf", "Clip", "ThresholdedRelu"}
)


@dataclass(frozen=True)
class _Chain:
    """A convolution, the nodes behind it in order (x Sigmoid(x) by its Mul), and their last result."""

    nodes: tuple[ir.Node, ...]

    @property
    def source(self) -> ir.Value:
        value = self.nodes[0].inputs[0]
        assert value is not None
        return value

    @property
    def channels(self) -> int:
        return (shape_of(self.nodes[0].outputs[0]) or (0, 0))[1]

    @property
    def key(self) -> str:
        """What its time depends on."""
        parts = []
        for node in self.nodes:
            weights = shape_of(node.inputs[1]) if node.op_type == "Conv" else ""
            parts.append(f"{node.op_type} {weights} {shape_of(node.outputs[0])}")
        return f"{shape_of(self.source)}: {', '.join(parts)}"


class ChannelsInParallel(Rewrite[_Chain]):
    """Compute groups of a convolution's channels side by side, where one unit would do them one after the other."""

    name = "channels-in-parallel"
    roots = frozenset({"Conv", "Mul"}) | _FUNCTIONS
    late = True

    def __init__(self) -> None:
        self._times: dict[str, dict[int, float]] = {}

    def pattern(self, node: ir.Node) -> _Chain | None:
        chains = (_Chain((first, *_behind(first.outputs[0]))) for first in _starts(node))
        chain = next((c for c in chains if c.nodes[-1] is node), None)
        result = node.outputs[0]
        if chain is None or chain.channels < 2 * _LEAST_CHANNELS or result.is_graph_output():
            return None
        if elements(shape_of(chain.nodes[0].outputs[0]) or ()) < _LEAST_OUTPUTS or producer(chain.source, "Split"):
            return None
        joined = any(reader.op_type == "Concat" for reader in users(result))
        fused = node.op_type == "Conv" and any(reader.op_type in SUMS_AND_PRODUCTS for reader in users(result))
        return None if joined or fused else chain

    def check(self, found: _Chain, context: Context) -> str | None:
        if context.timer is None:
            return "without a predictor nothing says whether it pays"
        times = self._times_of(found, context)
        if _best(times) == 1:
            others = ", ".join(f"{times[n]:.3f} in {n} groups" for n in times if n > 1) or "no equal groups"
            return f"alone it is predicted to take {times[1]:.3f} ms in one piece, {others}"
        return None

    def because(self, found: _Chain, context: Context) -> str:
        times = self._times_of(found, context)
        return f"{found.key}: " + ", ".join(f"{ms:.3f} ms in {n} group{'s' * (n > 1)}" for n, ms in times.items())

    def replace(self, found: _Chain, build: Builder, context: Context) -> Sequence[ir.Value]:
        times = self._times_of(found, context)
        return [_written(build, found, found.source, _best(times))]

    def _times_of(self, found: _Chain, context: Context) -> dict[int, float]:
        """Predicted milliseconds of the chain alone, by number of groups."""
        if found.key not in self._times:
            counts = [n for n in _GROUPS if found.channels % n == 0 and found.channels // n >= _LEAST_CHANNELS]
            shape = shape_of(found.source) or ()
            self._times[found.key] = {
                n: isolated_latency(context, [shape], lambda build, x, n=n: _written(build, found, x, n))
                for n in (1, *counts)
            }
        return self._times[found.key]


def _best(times: Mapping[int, float]) -> int:
    """The fewest groups that are hardly slower than more of them."""
    best = 1
    for groups in sorted(times):
        least = min(_WORTH * times[best], times[best] - _LEAST_SAVED)
        best = groups if times[groups] < least else best
    return best


def _is_plain(node: ir.Node) -> bool:
    """A two-dimensional convolution with constant parameters."""
    full = shape_of(node.outputs[0])
    constant = all(v is None or constant_of(v) is not None for v in node.inputs[1:])
    return constant and full is not None and len(full) == 4 and is_float(node.inputs[0])


def _starts(node: ir.Node | None) -> Iterator[ir.Node]:
    """Convolutions that a chain which ends in a node may start with, the first that all channels go into, or the
    farthest depthwise one."""
    depthwise = None
    while node is not None:
        if node.op_type == "Conv" and _is_plain(node) and attribute(node, "group", 1) == 1:
            yield node
            break
        source = _source(node)
        depthwise = node if node.op_type == "Conv" and source is not None else depthwise
        node = producer(source)
    if depthwise is not None:
        yield depthwise


def _source(node: ir.Node) -> ir.Value | None:
    """What a node of a chain reads, None for other nodes."""
    if node.op_type == "Mul":
        return next((v for v in node.inputs if v is not None and _gates(node, v)), None)
    chained = node.op_type in _FUNCTIONS or (node.op_type == "Conv" and _is_plain(node) and is_depthwise(node))
    return node.inputs[0] if chained else None


def _behind(value: ir.Value) -> Iterator[ir.Node]:
    """What alone reads a map, node after node, as long as every channel is for itself."""
    while (node := _next(value)) is not None:
        yield node
        value = node.outputs[0]


def _next(value: ir.Value) -> ir.Node | None:
    readers = users(value)
    if value.is_graph_output():
        return None
    if len(readers) == 2:
        return next((m for m in readers if m.op_type == "Mul" and _gates(m, value)), None)
    if len(readers) != 1 or len(value.uses()) != 1:
        return None
    node = readers[0]
    if node.op_type in _FUNCTIONS:
        alone = node.op_type != "Sigmoid" and all(v is None or constant_of(v) is not None for v in node.inputs[1:])
        return node if alone else None
    return node if node.op_type == "Conv" and _is_plain(node) and is_depthwise(node) else None


def _gates(mul: ir.Node, value: ir.Value) -> bool:
    """Whether the node is x * Sigmoid(x), whose Sigmoid nothing else reads."""
    other = next((v for v in mul.inputs if v is not value), None)
    gate = producer(other, "Sigmoid")
    return gate is not None and other is not None and gate.inputs[0] is value and len(users(other)) == 1


def _written(build: Builder, chain: _Chain, x: ir.Value, groups: int) -> ir.Value:
    """The chain's result for an input, in so many groups of channels."""
    size = chain.channels // groups
    sources = build.split(x, groups, axis=1) if is_depthwise(chain.nodes[0]) else [x] * groups
    cuts = [slice(i * size, (i + 1) * size) for i in range(groups)]
    return build.concat([_group(build, chain, *pair) for pair in zip(sources, cuts, strict=True)], axis=1)


def _group(build: Builder, chain: _Chain, x: ir.Value, cut: slice) -> ir.Value:
    for node in chain.nodes:
        if node.op_type == "Conv":
            x = _conv(build, node, x, cut)
        elif node.op_type == "Mul":
            x = build.mul(x, build.unary("Sigmoid", x))
        else:
            attributes = {k: attribute(node, k) for k in node.attributes}
            bounds = [v if v is None else build.constant(constant_of(v)) for v in node.inputs[1:]]
            x = build.node(node.op_type, [x, *bounds], [shape_of(x) or ()], **attributes)[0]
    return x


def _conv(build: Builder, node: ir.Node, x: ir.Value, cut: slice) -> ir.Value:
    weight, bias = (values[cut] for values in conv_parameters(node))
    groups = {"group": len(weight)} if is_depthwise(node) else {}
    return rebuild_conv(build, node, weight, bias, x, **groups)
