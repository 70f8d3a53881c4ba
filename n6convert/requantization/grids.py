"""Grids that a quantized file gave its tensors: noted in the model's metadata by name, and carried through rewrites."""

from __future__ import annotations

import json
from collections.abc import Mapping

import onnx_ir as ir

from n6convert.graph.operators import RESHAPES

__all__ = ["KEY", "carry", "collect_grids", "given_count", "mark_grids", "note_grids", "noted_grids", "origins"]

KEY = "n6convert.grids"
_LAYOUT = RESHAPES | {"Identity", "Transpose"}
_COUNT = "n6convert.grids.count"
Span = tuple[float, float]


def note_grids(model: ir.Model, grids: Mapping[str, Span]) -> None:
    """Write the range that each grid covers into the model's metadata, by tensor name, in place."""
    model.metadata_props[KEY] = json.dumps({name: [*span, name] for name, span in grids.items()})
    model.metadata_props[_COUNT] = str(len(grids))


def given_count(props: Mapping[str, str]) -> int:
    """How many grids the file had, those of tensors that exist no more included."""
    return int(props.get(_COUNT, "0"))


def noted_grids(props: Mapping[str, str]) -> dict[str, Span]:
    """The ranges by tensor name that metadata hold."""
    return {name: (low, high) for name, (low, high, _) in json.loads(props.get(KEY, "{}")).items()}


def origins(props: Mapping[str, str]) -> dict[str, str]:
    """The name in the file of each tensor that has one of its ranges: several tensors may hold the same values."""
    return {name: origin for name, (_, _, origin) in json.loads(props.get(KEY, "{}")).items()}


def mark_grids(model: ir.Model) -> None:
    """Tie the noted ranges to the tensors themselves, in place, so that they follow them to other names."""
    noted = json.loads(model.metadata_props.get(KEY, "{}"))
    values = [*model.graph.inputs, *(v for n in model.graph for v in n.outputs)]
    for value in values if noted else ():
        if (mark := noted.get(value.name or "")) is not None:
            value.metadata_props[KEY] = json.dumps(mark)
    for value in values if noted else ():
        carry(value, value)


def carry(old: ir.Value, new: ir.Value) -> None:
    """Let a value that stands for another one have its grid, and what it was only moved from."""
    mark, value = old.metadata_props.get(KEY), new
    while mark is not None:
        value.metadata_props.setdefault(KEY, mark)
        node = value.producer()
        if node is None or node.op_type not in _LAYOUT or node.inputs[0] is None:
            return
        value = node.inputs[0]


def collect_grids(model: ir.Model) -> None:
    """Note the ranges of marked tensors under the names that they have now, in place."""
    if KEY not in model.metadata_props:
        return
    found = {}
    for value in (*model.graph.inputs, *(v for n in model.graph for v in n.outputs)):
        mark = value.metadata_props.pop(KEY, None)
        if mark is not None:
            found[value.name or ""] = json.loads(mark)
    model.metadata_props[KEY] = json.dumps(found)
