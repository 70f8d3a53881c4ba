"""Tensors that share a grid: the groups they form, and what each group's grid has to cover.

Operators that only select or move values (see ``topology/sharing.py``) keep one grid on both sides. A
Concat may take an operand from another grid: it is requantized then, and its values count on both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from n6convert.graph.query import is_constant, may_be_float
from n6convert.graph.states import noted_states
from n6convert.quantization.topology.roles import float_operands
from n6convert.quantization.topology.sharing import clip_bounds, fixed_range, passes_through

__all__ = ["SharedGrid", "shared_grids", "shared_groups"]

Span = tuple[float, float]
#: a range that ends this much beyond a bound may as well end there
_NEARLY = 1.25
#: padding beyond this hides places; it may saturate
_MASKED = 1e3


def shared_groups(graph: ir.Graph, ranges: Mapping[str, Span] | None = None) -> dict[str, str]:
    """Tensor name -> name of the group's representative, for every float activation and pass-through constant.

    Args:
        ranges: when given, a Concat's operand that operators compute from elsewhere keeps a grid of its own if the
            common one would cost it a bit or more; the Concat then requantizes it.
    """
    joined = _Joined(ranges)
    for value in (*graph.inputs, *(v for n in graph for v in n.outputs)):
        if may_be_float(value) and value.name:
            joined.add(value)
    for before, after in noted_states(graph.metadata_props).items():  # the codes of one go into the other as they are
        joined.merge(before, after)
    moving = [n for n in graph if passes_through(n) and any(may_be_float(v) and v.name for v in n.outputs)]
    for node in sorted(moving, key=lambda n: n.op_type == "Concat"):  # the others have no choice
        joined.join(node)
    return joined.groups()


class _Joined:
    """Sets of tensors that share a grid, as they grow along the graph, each with the span of what is in it."""

    def __init__(self, ranges: Mapping[str, Span] | None) -> None:
        self.ranges = ranges
        self.parent: dict[str, str] = {}
        self.spans: dict[str, Span] = {}
        self.computed: set[str] = set()

    def add(self, value: ir.Value) -> None:
        name = value.name or ""
        if name in self.parent:
            return
        self.parent[name] = name
        self.spans[name] = _known(value, self.ranges or {}) or (0.0, 0.0)
        if value.is_graph_output() or any(not passes_through(n) for n in value.consumers()):
            self.computed.add(name)

    def find(self, name: str) -> str:
        while self.parent[name] != name:
            self.parent[name] = self.parent[self.parent[name]]
            name = self.parent[name]
        return name

    def join(self, node: ir.Node) -> None:
        operands = [o.value for o in float_operands(node)]
        for value in operands:
            self.add(value)
        roots = list(dict.fromkeys(self.find(v.name or "") for v in operands))
        whole = _union(self.spans[root] for root in roots)
        chosen = [r for r in roots if node.op_type != "Concat" or not self._loses_a_bit(r, whole)]
        for output in node.outputs:
            for root in chosen if may_be_float(output) and output.name else ():
                self._merge(self.find(root), self.find(output.name or ""))

    def _loses_a_bit(self, root: str, whole: Span) -> bool:
        return self.ranges is not None and root in self.computed and 2 * _width(self.spans[root]) < _width(whole)

    def merge(self, name: str, other: str) -> None:
        """Give two tensors one grid."""
        if name in self.parent and other in self.parent:
            self._merge(self.find(name), self.find(other))

    def _merge(self, root: str, into: str) -> None:
        if root == into:
            return
        self.parent[root] = into
        self.spans[into] = _union((self.spans[root], self.spans[into]))
        if root in self.computed:
            self.computed.add(into)

    def groups(self) -> dict[str, str]:
        return {name: self.find(name) for name in list(self.parent)}


@dataclass
class SharedGrid:
    """The tensors of one grid.

    Attributes:
        members: the tensors that have a range, in graph order, with it.
        guests: tensors of other grids whose values a Concat requantizes to this one, with their ranges.
        needed: range of what has no choice: bounded functions, constants, values that a Pad writes.
    """

    members: dict[str, Span] = field(default_factory=dict)
    guests: dict[str, Span] = field(default_factory=dict)
    needed: Span = (0.0, 0.0)

    @property
    def span(self) -> Span:
        """What the grid covers."""
        return _union((self.needed, *self.members.values(), *self.guests.values()))


def shared_grids(graph: ir.Graph, groups: Mapping[str, str], ranges: Mapping[str, Span]) -> dict[str, SharedGrid]:
    """The grids of a graph by the representative of :func:`shared_groups`; those with nothing known are left out.

    Args:
        graph: prepared.
        groups: representative by tensor name.
        ranges: by tensor name.
    """
    grids: dict[str, SharedGrid] = {}

    def of(name: str) -> SharedGrid:
        return grids.setdefault(groups.get(name, name), SharedGrid())

    for value in (*graph.inputs, *(v for n in graph for v in n.outputs)):
        span = _known(value, ranges) if may_be_float(value) else None
        if span is not None and (fixed_range(value) is None or value.name in ranges):
            of(value.name or "").members[value.name or ""] = span
        elif span is not None:
            of(value.name or "").needed = _union((of(value.name or "").needed, span))
    for node in graph:
        for name, span in _written(node, groups):
            of(name).needed = _union((of(name).needed, span))
        for source in _requantized(node, groups):
            _invite(of(node.outputs[0].name or ""), source, ranges)
    return grids


def _requantized(node: ir.Node, groups: Mapping[str, str]) -> Iterator[ir.Value]:
    """Operands of a Concat that have other grids than its output."""
    for operand in float_operands(node) if node.op_type == "Concat" else ():
        name, output = operand.value.name or "", node.outputs[0].name or ""
        if groups.get(name, name) != groups.get(output, output):
            yield operand.value


def _invite(grid: SharedGrid, value: ir.Value, ranges: Mapping[str, Span]) -> None:
    """Let a grid cover the values of a tensor that has another: those of all tensors that it was moved from."""
    queue, seen = [value], {value}
    while queue:
        source = queue.pop()
        span, producer = _known(source, ranges), source.producer()
        if span is not None and (is_constant(source) or fixed_range(source) is not None):
            grid.needed = _union((grid.needed, span))
        elif span is not None:
            grid.guests[source.name or ""] = span
        elif producer is not None:
            operands = [o.value for o in float_operands(producer)]
            grid.needed = _union((grid.needed, *_filled(producer)))
            queue += [v for v in operands if v not in seen]
            seen.update(operands)


def _written(node: ir.Node, groups: Mapping[str, str]) -> Iterator[tuple[str, Span]]:
    """Constants that a node writes among the values it moves: operands of a Concat, the value of a Pad."""
    for operand in float_operands(node):
        if operand.role == "constant" and operand.value.name in groups:
            yield operand.value.name or "", _extent(operand.value)
    for span in _filled(node):
        yield node.outputs[0].name or "", span


def _filled(node: ir.Node) -> Iterator[Span]:
    """What a Pad writes, unless it only hides places."""
    fill = node.inputs[2] if node.op_type == "Pad" and len(node.inputs) > 2 else None
    if fill is None or not is_constant(fill) or not may_be_float(fill) or _only_maxima(node.outputs[0]):
        return
    low, high = _extent(fill)
    if low > -_MASKED and high < _MASKED:
        yield low, high


def _only_maxima(value: ir.Value) -> bool:
    """Whether padding below every value may saturate: nothing but maxima reads it."""
    return not value.is_graph_output() and all(n.op_type in ("MaxPool", "ReduceMax") for n in value.consumers())


def _known(value: ir.Value, ranges: Mapping[str, Span]) -> Span | None:
    """The range that a value brings to its grid: that of a bounded function, of a constant, or the given one."""
    if is_constant(value):
        return _extent(value)
    span = ranges.get(value.name or "") or fixed_range(value)
    return _below_limit(value, span) if span is not None else None


def _extent(value: ir.Value) -> Span:
    assert value.const_value is not None
    numbers = value.const_value.numpy()
    return float(numbers.min(initial=0)), float(numbers.max(initial=0))


def _below_limit(value: ir.Value, span: Span) -> Span:
    """The range of a Min ends at the least of its constants where it nearly does: a grid then replaces the operator."""
    producer = value.producer()
    bounds = clip_bounds(producer) if producer is not None and producer.op_type == "Min" else None
    return (span[0], bounds[1]) if bounds is not None and bounds[1] < span[1] < _NEARLY * bounds[1] else span


def _union(spans: Iterable[Span]) -> Span:
    """The least range that holds all of them and zero."""
    lows, highs = zip((0.0, 0.0), *spans, strict=True)
    return min(lows), max(highs)


def _width(span: Span) -> float:
    return span[1] - span[0]
