"""A QDQ model as the float model it stands for: weights as their integers say, activations without their rounding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from n6convert.errors import GraphError
from n6convert.graph.canonical import fill_shapes, lift_constants
from n6convert.graph.operators import SELECTIONS
from n6convert.requantization.grids import note_grids

__all__ = ["MOVES", "Given", "Grid", "dequantize", "float_input", "is_codes"]

#: smallest and largest code by type
_CODES = {
    ir.DataType.INT8: (-128, 127), ir.DataType.UINT8: (0, 255), ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT16: (0, 65535), ir.DataType.INT4: (-8, 7), ir.DataType.UINT4: (0, 15),
    ir.DataType.INT32: (-(1 << 31), (1 << 31) - 1),
}  # fmt: skip
#: operators that int8 tensors may go through between a QuantizeLinear and a DequantizeLinear
MOVES = SELECTIONS | {"Gather", "Tile", "Resize"}
#: operators whose results are never negative
_POSITIVE = frozenset({"Relu", "Sigmoid", "Softmax", "Clip", "Abs", "Exp", "Sqrt", "HardSigmoid", "Softplus"})
#: operators of numbers that are not negative make such numbers
_KEEP_SIGN = frozenset({"AveragePool", "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "Add", "Mul", "Pad"})
_INDEX = ir.DataType.INT64


@dataclass(frozen=True)
class Grid:
    """``value = scale * (code - zero_point)`` with codes of ``kind``."""

    scale: float
    zero_point: int
    kind: ir.DataType

    @property
    def span(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        low, high = _CODES[self.kind]
        return self.scale * (low - self.zero_point), self.scale * (high - self.zero_point)


@dataclass(frozen=True)
class _Codes:
    """The float tensor that codes stand for, and their grid; None where every channel has its own."""

    value: ir.Value
    grid: Grid | None


@dataclass
class Given:
    """What a quantized file gave.

    Attributes:
        grids: of activations, by the name of the float tensor.
        inputs: of graph inputs that were integers, by name.
        weights: how many constants were integers, by their type.
        approximated: activations whose grid is no 8-bit one, or not one for the whole tensor.
    """

    grids: dict[str, Grid] = field(default_factory=dict)
    inputs: dict[str, Grid] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    approximated: list[str] = field(default_factory=list)

    @property
    def note(self) -> str:
        """What was taken from the file, as a sentence."""
        weights = ", ".join(f"{count} {kind}" for kind, count in sorted(self.weights.items()))
        text = f"quantized file: {len(self.grids)} grids of activations and the values of its constants ({weights})"
        text += " are taken as they are"
        if "INT4" in self.weights or "UINT4" in self.weights:
            text += "; 4-bit weights become int8 weights of the same values"
        if self.approximated:
            text += f"; {len(self.approximated)} activations were not on one 8-bit grid and get one of the same range"
        return text

    @property
    def pixels(self) -> dict[str, tuple[float, float]]:
        """(mean, std) in pixel units (0..255) of inputs whose codes are pixels: value = (pixel - mean) / std."""
        return {name: _in_pixels(grid) for name, grid in self.inputs.items() if _CODES[grid.kind][1] < 256}


def dequantize(model: ir.Model, place: object) -> Given:
    """Turn a QDQ model into a float model, in place, with the ranges of its grids noted in its metadata.

    Raises:
        GraphError: integers go through operators between QuantizeLinear and DequantizeLinear that compute with them, or
            a scale is not constant.
    """
    given = Given()
    lift_constants(model)
    fill_shapes(model)
    for node in list(model.graph):
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and _constant(node.inputs[0]) is not None:
            _fold(model.graph, node, given)
    for value in model.graph.inputs:
        if value.dtype in _CODES:
            grid = float_input(model.graph, value, place)
            if grid is not None:
                given.inputs[value.name or ""] = grid
    codes: dict[ir.Value, _Codes] = {}
    for node in list(model.graph):
        if node.op_type == "QuantizeLinear":
            codes[node.outputs[0]] = _written(model.graph, node, given, place)
        elif node.op_type == "DequantizeLinear":
            _read(model.graph, node, given, codes, place)
        elif any(v in codes for v in node.inputs if v is not None):
            _moved(node, codes, place)
    for value in list(model.graph.outputs):
        if value in codes:
            _stand_for(model.graph, value, codes[value].value, given)
    common.RemoveUnusedNodesPass()(model)
    used = {""} | {node.domain for node in model.graph}
    for domain in set(model.graph.opset_imports) - used:  # converters of opsets stumble over those that nothing needs
        del model.graph.opset_imports[domain]
    spans = {name: grid.span for name, grid in given.grids.items() if _CODES[grid.kind][1] < 256}
    given.approximated += [name for name in given.grids if name not in spans]
    note_grids(model, spans | {n: g.span for n, g in given.grids.items()})
    return given


def _in_pixels(grid: Grid) -> tuple[float, float]:
    return grid.zero_point - _CODES[grid.kind][0], 1 / grid.scale


def _constant(value: ir.Value | None) -> NDArray[Any] | None:
    tensor = None if value is None or value.producer() is not None else value.const_value
    return None if tensor is None else tensor.numpy()


def _fold(graph: ir.Graph, node: ir.Node, given: Given) -> None:
    """A constant behind QuantizeLinear or DequantizeLinear."""
    source, output = node.inputs[0], node.outputs[0]
    numbers, scale = _constant(source), _constant(node.inputs[1])
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    if numbers is None or scale is None or source is None:
        return
    shape = numbers.shape
    step = _along(scale.astype(np.float32), node, shape)
    offset = 0 if zero is None else _along(np.asarray(_constant(zero)).astype(np.int64), node, shape)
    if node.op_type == "DequantizeLinear":
        kind = source.const_value.dtype if source.const_value is not None else ir.DataType.INT8
        given.weights[kind.name] = given.weights.get(kind.name, 0) + 1
        tensor = ir.tensor(((numbers.astype(np.int64) - offset) * step).astype(np.float32), name=output.name)
    else:
        kind = zero.dtype if zero is not None and zero.dtype is not None else ir.DataType.UINT8
        low, high = _CODES[kind]
        codes = np.clip(np.rint(numbers.astype(np.float32) / step) + offset, low, high)
        tensor = ir.tensor(codes.astype(kind.numpy()), dtype=kind, name=output.name)
    value = ir.Value(name=output.name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(shape), const_value=tensor)
    output.replace_all_uses_with(value, replace_graph_outputs=True)
    output.name = f"{output.name}_folded"
    graph.remove(node, safe=True)
    graph.register_initializer(value)


def _along(numbers: NDArray[Any], node: ir.Node, shape: tuple[int, ...]) -> NDArray[Any]:
    """Scales or zero points, broadcast to the tensor they are for: one, one per channel, or one per block."""
    if numbers.size == 1:
        return numbers.reshape(())
    axis, block = node.attributes.get_int("axis", 1) % len(shape), node.attributes.get_int("block_size", 0)
    if block:
        return np.repeat(numbers, block, axis=axis)[tuple(slice(n) for n in shape)]
    return numbers.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def is_codes(value: ir.Value) -> bool:
    """Whether a tensor's type is one that a QuantizeLinear makes."""
    return value.dtype in _CODES


def float_input(graph: ir.Graph, value: ir.Value, place: object) -> Grid | None:
    """Make a graph input of codes a float one, in place, with a QuantizeLinear behind it; the grid that says how.

    Args:
        graph: changed in place.
        value: an input of codes.
        place: of the file, for messages.
    """
    reader = _first_reader(value)
    grid = _grid(reader, place) if reader is not None else None
    if reader is None or grid is None:
        return None
    node = ir.node("QuantizeLinear", [value, *reader.inputs[1:3]], name=f"{value.name}_quantize")
    codes = node.outputs[0]
    codes.name, codes.type, codes.shape = f"{value.name}_codes", value.type, value.shape
    value.replace_all_uses_with(codes)
    node.replace_input_with(0, value)
    value.type = ir.TensorType(ir.DataType.FLOAT)
    graph.insert_before(graph[0], node)
    return grid


def _first_reader(value: ir.Value) -> ir.Node | None:
    """The first DequantizeLinear behind a value and operators that move it."""
    for node in value.consumers():
        if node.op_type == "DequantizeLinear":
            return node
        found = _first_reader(node.outputs[0]) if node.op_type in MOVES else None
        if found is not None:
            return found
    return None


def _grid(node: ir.Node, place: object) -> Grid | None:
    """One grid for the whole tensor; None where every channel has its own."""
    scale, zero = _constant(node.inputs[1]), node.inputs[2] if len(node.inputs) > 2 else None
    point = np.zeros(1, np.int64) if zero is None else _constant(zero)
    if scale is None or point is None:
        raise GraphError(
            "a scale or zero point is computed while the model runs", place=f"{place}, node {node.name}",
            found=node.op_type, remedy="convert the float model it was made from",
        )  # fmt: skip
    kind = zero.dtype if zero is not None and zero.dtype in _CODES else _kind_without_zero(node)
    return Grid(float(scale.reshape(-1)[0]), int(point.reshape(-1)[0]), kind) if scale.size == 1 else None


def _kind_without_zero(node: ir.Node) -> ir.DataType:
    told = node.attributes.get_int("output_dtype", 0)
    held = node.inputs[0].dtype if node.op_type == "DequantizeLinear" and node.inputs[0] is not None else None
    kind = ir.DataType(told) if told else held
    return kind if kind in _CODES and kind is not None else ir.DataType.UINT8


def _written(graph: ir.Graph, node: ir.Node, given: Given, place: object) -> _Codes:
    """The float tensor that a QuantizeLinear turns into codes."""
    value, grid = node.inputs[0], _grid(node, place)
    assert value is not None
    if grid is None:
        given.approximated.append(value.name or "")
        return _Codes(value, None)
    value = _saturated(graph, node, value, grid)
    given.grids.setdefault(value.name or "", grid)
    return _Codes(value, grid)


def _saturated(graph: ir.Graph, node: ir.Node, value: ir.Value, grid: Grid) -> ir.Value:
    """Quantizers drop a Relu in front of a grid that begins at 0: the grid did its work."""
    if grid.span[0] != 0 or value.producer() is None or _never_negative(value):
        return value
    made = ir.node("Relu", [value], name=f"{value.name}_relu")
    made.outputs[0].name, made.outputs[0].type, made.outputs[0].shape = f"{value.name}_relu", value.type, value.shape
    graph.insert_before(node, made)
    return made.outputs[0]


def _never_negative(value: ir.Value | None, depth: int = 12) -> bool:
    maker = None if value is None else value.producer()
    if value is None or depth == 0:
        return False
    numbers = _constant(value)
    if numbers is not None:
        return numbers.dtype.kind != "f" or bool(numbers.min(initial=0) >= 0)
    if maker is None or maker.op_type in _POSITIVE:
        return maker is not None and (maker.op_type != "Clip" or _clipped_from_zero(maker, depth))
    if maker.op_type == "DequantizeLinear":
        return _grid_begins_at_zero(maker)
    if maker.op_type == "Resize" and maker.attributes.get_string("mode", "nearest") == "cubic":
        return False  # swings below the smallest of its neighbors
    kept = maker.op_type in MOVES or maker.op_type in _KEEP_SIGN
    return kept and all(_never_negative(v, depth - 1) for v in maker.inputs if v is not None and v.dtype != _INDEX)


def _clipped_from_zero(clip: ir.Node, depth: int) -> bool:
    """Whether the lower bound of a Clip, an attribute before opset 11, is not negative."""
    if len(clip.inputs) > 1:
        return _never_negative(clip.inputs[1], depth - 1)
    return clip.attributes.get_float("min", -1.0) >= 0 or _never_negative(clip.inputs[0], depth - 1)


def _grid_begins_at_zero(node: ir.Node) -> bool:
    grid = _grid(node, "")
    return grid is not None and grid.span[0] == 0


def _read(graph: ir.Graph, node: ir.Node, given: Given, codes: dict[ir.Value, _Codes], place: object) -> None:
    """The float tensor in place of what a DequantizeLinear makes of its codes."""
    value, grid = node.inputs[0], _grid(node, place)
    assert value is not None
    found = codes.get(value)
    if found is None or (grid and grid.span) != (found.grid and found.grid.span):
        raise GraphError(
            "a DequantizeLinear reads codes of another grid than it says", place=f"{place}, node {node.name}",
            found=f"scale {grid.scale:g}, zero point {grid.zero_point}" if grid else "one scale per channel",
            limit="the scale and zero point of the QuantizeLinear that made the codes",
            remedy="convert the float model it was made from",
        )  # fmt: skip
    _stand_for(graph, node.outputs[0], found.value, given)


def _moved(node: ir.Node, codes: dict[ir.Value, _Codes], place: object) -> None:
    """An operator between the two that only moves codes moves the values themselves."""
    held = [codes[v] for v in node.inputs if v in codes]
    moves = any(v.dtype in _CODES for v in node.outputs)
    if not moves and all(codes[v].value is v for v in node.inputs if v in codes):
        return  # a float tensor that was moved as codes
    if not moves or node.op_type not in MOVES or len({c.grid for c in held}) != 1:
        raise GraphError(
            "an operator computes with integers", place=f"{place}, node {node.name}", found=node.op_type,
            limit="float operators between DequantizeLinear and QuantizeLinear",
            remedy="convert the float model it was made from",
        )  # fmt: skip
    for index, value in enumerate(node.inputs):
        if value in codes:
            node.replace_input_with(index, codes[value].value)
    for output in node.outputs:
        if output.dtype in _CODES:
            output.type = ir.TensorType(ir.DataType.FLOAT)
            codes[output] = _Codes(output, held[0].grid)


def _stand_for(graph: ir.Graph, old: ir.Value, new: ir.Value, given: Given) -> None:
    """Use one value in place of another, whose name it takes where that is an output of the graph."""
    if old is new:
        return
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return
    if new.producer() is None or new.is_graph_output():
        copy = ir.node("Identity", [new], name=f"{new.name}_as_output")
        copy.outputs[0].type, copy.outputs[0].shape = ir.TensorType(ir.DataType.FLOAT), new.shape
        graph.append(copy)
        new = copy.outputs[0]
    grid = given.grids.pop(new.name or "", None)
    name, old.name = old.name, f"{old.name}_codes"
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    new.name = name
    if grid is not None:
        given.grids[name or ""] = grid
