"""Repairs what ST Edge AI rejects and what can be repaired without changing any number ([#import])."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from n6convert.graph.canonical import lift_constants
from n6convert.linter.constants import IR_WRITTEN
from n6convert.linter.rules_operators import slice_parts
from n6convert.linter.view import constant, dims

__all__ = ["normalize"]


def normalize(model: ir.Model) -> list[str]:
    """Mend a model in place; returns a sentence for each kind of thing that was changed.

    Constants become initializers and leave the list of inputs, allowzero and empty optional inputs go, Pad gets pads
    for all axes, Slice bounds the dimensions themselves, the file IR version 8.
    """
    done: list[str] = []
    for repair in _REPAIRS:
        count = repair(model)
        if count:
            done.append(f"{(repair.__doc__ or '').rstrip('.')} ({count})")
    return done


def _inputs(model: ir.Model) -> int:
    """Initializers taken off the list of graph inputs."""
    before = len(model.graph.inputs)
    common.RemoveInitializersFromInputsPass()(model)
    return before - len(model.graph.inputs)


def _constants(model: ir.Model) -> int:
    """Constant nodes made initializers."""
    before = sum(node.op_type == "Constant" for node in model.graph)
    if before:
        lift_constants(model)
    return before - sum(node.op_type == "Constant" for node in model.graph)


def _allowzero(model: ir.Model) -> int:
    """Reshape freed of allowzero."""
    count = 0
    for node in _nodes(model, "Reshape"):
        shape = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        if node.attributes.get_int("allowzero", 0) and shape is not None and (shape != 0).all():
            node.attributes.pop("allowzero")
            count += 1
    return count


def _pads(model: ir.Model) -> int:
    """Pad written with pads for all axes and without empty inputs."""
    return sum(_repair_pad(model, node) for node in _nodes(model, "Pad") if len(node.inputs) > 2)


def _repair_pad(model: ir.Model, node: ir.Node) -> bool:
    shape, pads = dims(node.inputs[0]), constant(node.inputs[1])
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        if axes is None or pads is None or shape is None:
            return False
        full = np.zeros((2, len(shape)), np.int64)
        full[:, [int(a) % len(shape) for a in axes.ravel()]] = pads.reshape(2, -1)
        node.replace_input_with(1, _initializer(model, node, "pads", full.ravel()))
    elif None not in node.inputs:
        return False
    node.resize_inputs(3 if node.inputs[2] is not None else 2)
    return True


def _empty_inputs(model: ir.Model) -> int:
    """Trailing empty optional inputs dropped."""
    count = 0
    for node in model.graph:
        size = len(node.inputs)
        while size and node.inputs[size - 1] is None:
            size -= 1
        if size != len(node.inputs):
            node.resize_inputs(size)
            count += 1
    return count


def _slices(model: ir.Model) -> int:
    """Slice bounds written as the dimensions themselves."""
    return sum(_repair_slice(model, node) for node in _nodes(model, "Slice") if len(node.inputs) > 1)


def _repair_slice(model: ir.Model, node: ir.Node) -> bool:
    parts, shape = slice_parts(node), dims(node.inputs[0])
    if parts is None or shape is None:
        return False
    axes, starts, ends, steps = parts
    sizes = [shape[a] for a in axes]
    if None in sizes or any(step < 1 for step in steps):
        return False
    bounds = [slice(a, b, s).indices(int(n or 0)) for a, b, s, n in zip(starts, ends, steps, sizes, strict=True)]
    fresh = (tuple(b[0] for b in bounds), tuple(b[1] for b in bounds))
    if fresh == (starts, ends):
        return False
    for index, role in ((1, "starts"), (2, "ends")):
        node.replace_input_with(index, _initializer(model, node, role, np.array(fresh[index - 1], np.int64)))
    return True


def _ir_version(model: ir.Model) -> int:
    """IR version set to 8."""
    changed = model.ir_version != IR_WRITTEN
    model.ir_version = IR_WRITTEN
    return int(changed)


_REPAIRS: Sequence[Callable[[ir.Model], int]] = (
    _inputs, _constants, _allowzero, _pads, _empty_inputs, _slices, _ir_version
)  # fmt: skip


def _nodes(model: ir.Model, kind: str) -> list[ir.Node]:
    return [node for node in model.graph if node.op_type == kind and node.domain == ""]


def _initializer(model: ir.Model, node: ir.Node, role: str, array: NDArray[np.int64]) -> ir.Value:
    """A new initializer under a name that nothing else has."""
    stem = name = f"{node.name or node.outputs[0].name}_{role}"
    taken = {value.name for n in model.graph for value in n.outputs} | set(model.graph.initializers)
    number = 1
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    value = ir.val(name, const_value=ir.tensor(array, name=name))
    model.graph.register_initializer(value)
    return value
