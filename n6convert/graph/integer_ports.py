"""Graph inputs and outputs of integers: images as uint8, labels, token ids.

The board's buffers are int8 with a scale and a zero point, so what a file declares as uint8 or int8 and turns into
float itself is a float input of the same numbers: the grid then says which int8 stands for which of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from n6convert.errors import GraphError
from n6convert.graph.ends import ending_at, names_in_front
from n6convert.graph.operators import MOVES

__all__ = ["IntegerInput", "float_inputs", "refuse_integers"]


@dataclass(frozen=True)
class IntegerInput:
    """An input that was of integers in the file.

    Attributes:
        name: of the graph input.
        dtype: what the file says, such as ``uint8``.
    """

    name: str
    dtype: str

    @property
    def note(self) -> str:
        """What was done, as a sentence."""
        numbers = "the pixels themselves, 0 to 255" if self.dtype == "uint8" else "the same numbers"
        board = "; its int8 buffer on the board holds pixel - 128" if self.dtype == "uint8" else ""
        return f"input {self.name} is {self.dtype} in the file and float here ({numbers}){board}"


def float_inputs(model: ir.Model) -> list[IntegerInput]:
    """Make float inputs of those integer ones that the graph only moves and turns into float, in place."""
    found = []
    for value in model.graph.inputs:
        if not _is_integer(value):
            continue
        kind, way = _numpy(value).name, _way_to_float(value)
        if way:
            _make_float(value, way)
            found.append(IntegerInput(value.name or "", kind))
    if found:
        common.RemoveUnusedNodesPass()(model)
    return found


def refuse_integers(model: ir.Model, place: object) -> None:
    """Raise GraphError, with the way out, for inputs and outputs that cannot be int8 buffers."""
    for value in model.graph.inputs:
        if _is_integer(value):
            readers = sorted({node.op_type for node in value.consumers()})
            raise GraphError(
                "an input of integers is read as such, and the NPU computes with real numbers on an int8 grid",
                place=f"{place}, input {value.name}", limit="float32, or integers that a Cast turns into float",
                found=f"{_numpy(value).name}, read by {', '.join(readers)}",
                remedy="look up embeddings on the host and export the network behind them, with float inputs; an input "
                f"that is always the same becomes a constant: `--set 'options.constants={{{value.name}: VALUE}}'`",
            )  # fmt: skip
    for value in model.graph.outputs:
        if _is_integer(value):
            made = value.producer()
            raise GraphError(
                "an output holds integers or truth values, which is work for the host",
                place=f"{place}, output {value.name}", limit="float32 outputs, which become int8 buffers",
                found=f"{_numpy(value).name}, made by {made.op_type if made is not None else 'nothing'}",
                remedy=_way_out(model.graph),
            )  # fmt: skip


def _way_out(graph: ir.Graph) -> str:
    makers = {node for value in graph.outputs if _is_integer(value) for node in _integer_nodes(value)}
    names = names_in_front(graph, [node for node in graph if node in makers]) if makers else None
    if names is None:
        return "drop this output when exporting"
    return f"end the network in front of it and do the rest on the host: {ending_at(names)}"


def _is_integer(value: ir.Value) -> bool:
    return value.dtype is not None and not value.dtype.is_floating_point() and value.dtype != ir.DataType.STRING


def _numpy(value: ir.Value) -> np.dtype[np.generic]:
    assert value.dtype is not None
    return np.dtype(value.dtype.numpy())


def _way_to_float(value: ir.Value) -> list[ir.Node] | None:
    """The nodes that move the value's integers and turn them into float, first to last; None for other readers."""
    found: list[ir.Node] = []
    for node in dict.fromkeys(value.consumers()):
        if any(v.is_graph_output() for v in node.outputs):
            return None
        found.append(node)
        if node.op_type == "Cast" and node.attributes.get_int("to", 0) == ir.DataType.FLOAT:
            continue
        if node.inputs[0] is not value or not (node.op_type in MOVES or _widens(node, value)):
            return None
        for output in node.outputs:
            behind = _way_to_float(output)
            if behind is None:
                return None
            found += behind
    return found


def _widens(node: ir.Node, value: ir.Value) -> bool:
    """Whether a Cast keeps every number of the value's type."""
    if node.op_type != "Cast":
        return False
    to = ir.DataType(node.attributes.get_int("to", 0))
    return not to.is_floating_point() and np.can_cast(_numpy(value), np.dtype(to.numpy()))


def _make_float(value: ir.Value, way: list[ir.Node]) -> None:
    for held in (value, *(v for node in way for v in node.outputs)):
        held.type = ir.TensorType(ir.DataType.FLOAT)
    for node in way:
        if node.op_type == "Cast" and node.inputs[0] is not None:
            node.outputs[0].replace_all_uses_with(node.inputs[0])


def _integer_nodes(value: ir.Value) -> Iterator[ir.Node]:
    """The nodes that make an integer tensor, back to those that read float."""
    queue, seen = [value], {value}
    while queue:
        node = queue.pop(0).producer()
        if node is None:
            continue
        yield node
        more = [v for v in node.inputs if v is not None and v not in seen and not v.is_initializer() and _is_integer(v)]
        seen.update(more)
        queue += more
