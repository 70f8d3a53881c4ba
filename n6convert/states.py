"""Inputs and outputs of recurrent cells: time where the batch should be, and states that are fed back.

ONNX puts time, or layers, in front of the batch: [T, 1, I]; ST reads the first axis as the batch. [1, T, I] are the
same bytes. A cell whose first state is an input of the network and whose last state is an output is called once for
every step, with its outputs fed back. The pairs travel in the model's metadata, since the cell itself is written out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import numpy as np
import onnx_ir as ir

__all__ = ["KEY", "batch_in_front", "find_states", "leads_with_time", "note_states", "noted_states"]

KEY = "n6convert.states"
_CELLS = ("LSTM", "GRU", "RNN")
_MOVES = ("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Slice", "Split", "Gather", "Concat", "Identity")


def leads_with_time(value: ir.Value) -> bool:
    """Whether the first axis of a graph input or output counts steps or layers of a recurrent cell, not samples."""
    shape = list(value.shape or ())
    if len(shape) < 3 or shape[0] == 1 or 1 not in shape:
        return False
    return _reaches_cell(value) if value.is_graph_input() else _comes_from_cell(value)


def batch_in_front(model: ir.Model) -> None:
    """Let inputs and outputs that lead with time, [T, .., 1, ..], be [1, T, ..] instead, in place: the same bytes."""
    graph = model.graph
    for value in [v for v in graph.inputs if leads_with_time(v)]:
        full = _sizes(value)
        inner = _reshaped(graph, value, full, f"{value.name}_by_time")
        value.replace_all_uses_with(inner)
        inner.producer().replace_input_with(0, value)  # type: ignore[union-attr]
        graph.insert_before(graph[0], inner.producer())  # type: ignore[arg-type]
        value.shape = ir.Shape(_led_by_batch(full))
    for index, value in enumerate(graph.outputs):
        if leads_with_time(value):
            full = _sizes(value)
            name, value.name = value.name, f"{value.name}_by_time"
            graph.outputs[index] = result = _reshaped(graph, value, _led_by_batch(full), str(name))
            graph.append(result.producer())  # type: ignore[arg-type]


def _led_by_batch(sizes: list[int]) -> list[int]:
    batch = sizes.index(1)
    return [1, *sizes[:batch], *sizes[batch + 1 :]]


def _sizes(value: ir.Value) -> list[int]:
    return [d for d in value.shape or () if isinstance(d, int)]


def _reshaped(graph: ir.Graph, value: ir.Value, to: list[int], name: str) -> ir.Value:
    tensor = ir.tensor(np.array(to, np.int64), name=f"{name}_shape")
    shape = ir.Value(name=tensor.name, type=ir.TensorType(ir.DataType.INT64), const_value=tensor)
    shape.shape = ir.Shape([len(to)])
    graph.register_initializer(shape)
    node = ir.node("Reshape", [value, shape], name=f"{name}_reshape")
    result = node.outputs[0]
    result.name, result.type, result.shape = name, value.type, ir.Shape(to)
    return result


def _reaches_cell(value: ir.Value) -> bool:
    readers = list(value.consumers())
    return any(n.op_type in _CELLS or (n.op_type in _MOVES and _reaches_cell(n.outputs[0])) for n in readers)


def _comes_from_cell(value: ir.Value | None) -> bool:
    node = None if value is None else value.producer()
    if node is None or node.op_type not in _MOVES:
        return node is not None and node.op_type in _CELLS
    return _comes_from_cell(node.inputs[0])


def note_states(model: ir.Model) -> None:
    """Write the pairs of :func:`find_states` into the model's metadata, in place."""
    if pairs := find_states(model):
        model.metadata_props[KEY] = json.dumps(pairs)


def noted_states(props: Mapping[str, str]) -> dict[str, str]:
    """Inputs and the outputs that are their next values, as metadata say."""
    return dict(json.loads(props.get(KEY, "{}")))


def find_states(model: ir.Model) -> dict[str, str]:
    """Inputs of the graph and the outputs of equal shape that are their next values, by name."""
    pairs: dict[str, str] = {}
    for node in model.graph:
        if node.op_type not in _CELLS:
            continue
        inputs, outputs = ([*side, None, None, None] for side in (node.inputs[5:7], node.outputs[1:3]))
        for before, after in zip(inputs[:2], outputs[:2], strict=True):
            found = [(i, o) for i in _sources(before) for o in _ends(after) if i.shape == o.shape]
            pairs |= {i.name or "": o.name or "" for i, o in found[:1]}
    return pairs


def _sources(value: ir.Value | None) -> Iterator[ir.Value]:
    """Graph inputs from which a value is only moved."""
    while value is not None and not value.is_graph_input():
        node = value.producer()
        value = node.inputs[0] if node is not None and node.op_type in _MOVES else None
    if value is not None:
        yield value


def _ends(value: ir.Value | None) -> Iterator[ir.Value]:
    """Graph outputs to which a value is only moved."""
    if value is None:
        return
    if value.is_graph_output():
        yield value
    for node in value.consumers():
        if node.op_type in _MOVES:
            yield from _ends(node.outputs[0])
