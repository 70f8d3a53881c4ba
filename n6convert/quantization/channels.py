"""Which tensors may be scaled channel by channel without changing what the network computes.

A group is a set of tensors tied by operators that treat channels alike and commute with a positive factor (Add, Relu,
PRelu, pooling, Reshape that keeps the channels, ...). Scaling every channel c of the group by ``1 / s_c`` is exact when
each operator that writes into the group can divide its output channels (a convolution, a Gemm, a Mul or Add of a
constant vector, an embedding table) and each that reads from it can multiply its input channels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from n6convert.quantization.normalize import constant, static_dims
from n6convert.quantization.roles import is_constant

__all__ = ["Edge", "Group", "channel_groups"]

_LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})
_ALIKE = frozenset({"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity", "Neg"})


@dataclass(frozen=True)
class Edge:
    """Where a node touches a group: it writes (``output``) or reads (``index`` of its input)."""

    node: ir.Node
    index: int = -1


@dataclass
class Group:
    """Tensors that share one vector of channel factors.

    Attributes:
        axis: channel axis by tensor.
        writers, readers: operators that absorb the factors.
        blocked: why the group cannot be scaled, None when it can.
    """

    channels: int
    axis: dict[ir.Value, int] = field(default_factory=dict)
    writers: list[Edge] = field(default_factory=list)
    readers: list[Edge] = field(default_factory=list)
    blocked: str | None = None


def channel_groups(graph: ir.Graph) -> list[Group]:
    """All groups that can be scaled, in graph order."""
    seen: set[ir.Value] = set()
    found = []
    for node in graph:
        value = node.outputs[0]
        if node.op_type in _LAYERS and value not in seen and value.shape is not None:
            group = _grow(value, channel_axis(node))
            seen.update(group.axis)
            if group.blocked is None and group.readers:
                found.append(group)
    return found


def channel_axis(node: ir.Node) -> int:
    """Axis of a layer's input and output that holds channels."""
    return 1 if node.op_type in ("Conv", "ConvTranspose") else len(node.outputs[0].shape or ()) - 1


def _grow(start: ir.Value, axis: int) -> Group:
    group = Group(static_dims(start.shape or ir.Shape([]))[axis])
    queue: list[tuple[ir.Value, int]] = [(start, axis)]
    while queue and group.blocked is None:
        value, axis = queue.pop()
        if group.axis.get(value, axis) != axis:
            group.blocked = f"{value.name} is read along two axes"
        if value in group.axis:
            continue
        group.axis[value] = axis
        if value.is_graph_output() or value.producer() is None:
            group.blocked = f"{value.name} is an input or output of the graph"
            continue
        queue += _through(group, value, axis, value.producer())
        for node, index in value.uses():
            queue += _through(group, value, axis, node, index)
    return group


def _through(
    group: Group, value: ir.Value, axis: int, node: ir.Node | None, index: int = -1
) -> list[tuple[ir.Value, int]]:
    """Follow a node from a value: values tied to it, or an edge that absorbs, or a reason to block."""
    if node is None:
        return []
    output = node.outputs[0]
    if node.op_type in _LAYERS and index <= 0 and axis == channel_axis(node):
        (group.writers if index < 0 else group.readers).append(Edge(node, index))
        return []
    if node.op_type == "Mul" and _vector(node, group.channels, axis, len(output.shape or ())) is not None:
        (group.writers if index < 0 else group.readers).append(Edge(node, index))
        return []
    if node.op_type == "Gather" and index < 0 and is_constant(node.inputs[0]) and _last(output, axis):
        group.writers.append(Edge(node))
        return []
    if node.op_type == "Add":
        return _through_add(group, node, axis)
    other = output if index >= 0 else node.inputs[0]
    moved = _moved_axis(node, axis, index >= 0)
    if other is None or moved is None or is_constant(other):
        group.blocked = f"{node.op_type} {node.name} does not keep channels apart"
        return []
    return [(other, moved)]


def _through_add(group: Group, node: ir.Node, axis: int) -> list[tuple[ir.Value, int]]:
    output = node.outputs[0]
    rank = len(output.shape or ())
    constants = [v for v in node.inputs if is_constant(v)]
    if constants:
        shape = constants[0].shape if constants[0] is not None else None
        dims = static_dims(shape or ir.Shape([]))
        if len(dims) < rank - axis or dims[axis - rank] != group.channels:
            group.blocked = f"Add {node.name}: its constant is not one number a channel"
            return []
        edge = Edge(node)
        if edge not in group.writers:
            group.writers.append(edge)
    tied = [v for v in (*node.inputs, output) if v is not None and not is_constant(v)]
    if any(v.shape != output.shape for v in tied):
        group.blocked = f"Add {node.name} broadcasts"
    return [(v, axis) for v in tied]


def _vector(node: ir.Node, channels: int, axis: int, rank: int) -> ir.Value | None:
    """The constant operand of a Mul when it has one number a channel along the axis, and only there."""
    for value in node.inputs:
        if value is not None and is_constant(value):
            dims = static_dims(value.shape or ir.Shape([]))
            fits = len(dims) >= rank - axis and constant(value).size == channels and dims[axis - rank] == channels
            return value if fits else None
    return None


def _moved_axis(node: ir.Node, axis: int, forward: bool) -> int | None:
    """The channel axis on the other side of an operator that ties both; None when channels get mixed."""
    source, target = (node.inputs[0], node.outputs[0]) if forward else (node.outputs[0], node.inputs[0])
    if source is None or target is None or source.shape is None or target.shape is None:
        return None
    before, after = static_dims(source.shape), static_dims(target.shape)
    if node.op_type in _ALIKE - {"Neg"}:
        return axis if axis == 1 or node.op_type in ("Relu", "LeakyRelu", "Identity") else None
    if node.op_type == "PRelu":
        return axis
    if node.op_type == "Resize" or (node.op_type == "Pad" and len(node.inputs) == 2):
        return axis if axis == 1 and before[1] == after[1] else None
    if node.op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return _reshaped_axis(before, after, axis)
    if node.op_type == "Transpose":
        order = list(node.attributes.get_ints("perm", []))
        return order.index(axis) if forward else order[axis]
    return None


def _reshaped_axis(before: list[int], after: list[int], axis: int) -> int | None:
    """Where a channel axis goes: it must keep its size and its position in memory."""
    outer = 1
    for d in before[:axis]:
        outer *= d
    product = 1
    for position, d in enumerate(after):
        if product == outer and d == before[axis]:
            return position
        product *= d
    return None


def _last(value: ir.Value, axis: int) -> bool:
    return axis == len(value.shape or ()) - 1
