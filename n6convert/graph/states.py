"""States of a streaming network: which output is the next value of which input.

A recurrent cell whose first state is an input of the network and whose last state is an output is called once for
every step, with its outputs fed back. The pairs travel in the model's metadata, since the cell itself is written out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import onnx_ir as ir

from n6convert.graph.operators import MOVES

__all__ = ["CARRYING", "CELLS", "KEY", "find_states", "note_states", "noted_states"]

KEY = "n6convert.states"
CARRYING = MOVES | {"Gather", "Concat"}
CELLS = ("LSTM", "GRU", "RNN")


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
        if node.op_type not in CELLS:
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
        value = node.inputs[0] if node is not None and node.op_type in CARRYING else None
    if value is not None:
        yield value


def _ends(value: ir.Value | None) -> Iterator[ir.Value]:
    """Graph outputs to which a value is only moved."""
    if value is None:
        return
    if value.is_graph_output():
        yield value
    for node in value.consumers():
        if node.op_type in CARRYING:
            yield from _ends(node.outputs[0])
