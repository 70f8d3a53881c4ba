"""From ranges of single tensors to one grid for each tensor of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import QuantizationError
from n6convert.graph.query import may_be_float
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.plan import Plan, QuantizedWeight, fit_weight, plain_scales
from n6convert.quantization.grid.qdq import least_weight_scales
from n6convert.quantization.grid.shared_grids import shared_grids, shared_groups
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.topology.roles import activations, float_operands
from n6convert.quantization.topology.sharing import (
    absorbed_by_grid,
    clipped_with,
    fixed_range,
    passes_through,
)

__all__ = ["exact_inputs", "make_plan", "observed", "quantize_weights"]


#: where a constant keeps its integer weights
_FITTED = "n6convert.fitted"


def observed(graph: ir.Graph) -> list[str]:
    """Names of the tensors whose statistics the grids need.

    Left out: tensors with a fixed range, inputs of a Relu or Clip that the grid replaces, and values that an operator
    only selects from tensors which are observed themselves.
    """
    bounded = absorbed_by_grid(graph)
    clips = [n.inputs[0] for n in graph if n.outputs[0].name in bounded]
    absorbed = {v.name for source in clips if source is not None for v in clipped_with(source)}
    return [v.name or "" for v in activations(graph) if not _decided(v) and v.name not in absorbed]


def _decided(value: ir.Value) -> bool:
    producer = value.producer()
    if fixed_range(value) is not None:
        return True
    return (
        producer is not None
        and passes_through(producer)
        and any(o.role == "activation" for o in float_operands(producer))
    )


def exact_inputs(graph: ir.Graph, samples: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, Range]:
    """Ranges of graph inputs that hold 8-bit numbers, as 0..255, 0..1 or -128..127: their grid loses nothing."""
    found = {}
    for value in graph.inputs:
        arrays = [np.asarray(s[value.name or ""]) for s in samples if may_be_float(value)]
        for low, high in ((0.0, 1.0), (0.0, 255.0), (-128.0, 127.0)):
            if arrays and all(_are_pixels(a, low, high) for a in arrays):
                found[value.name or ""] = (low, high)
                break
    return found


def _are_pixels(array: NDArray[Any], low: float, high: float) -> bool:
    codes = (array - low) * (255.0 / (high - low))
    inside = bool(array.size) and codes.min() >= 0 and codes.max() <= 255.5 and bool(np.ptp(codes) > 16)
    return inside and bool(np.abs(codes - np.rint(codes)).max() < 1e-2)


def make_plan(graph: ir.Graph, ranges: dict[str, Range]) -> Plan:
    """Grids for every activation and constant, integer weights, and the Relu/Clip operators a grid replaces.

    Args:
        ranges: of every tensor in :func:`observed`.
    """
    plan = Plan()
    groups = shared_groups(graph, ranges)
    spans = {name: grid.span for name, grid in shared_grids(graph, groups, ranges).items()}
    _symmetric_for_abs(graph, groups, spans)
    bounds = absorbed_by_grid(graph)
    for value in activations(graph):
        name = value.name or ""
        if groups.get(name, name) in spans:
            plan.grids[name] = Grid.from_range(*spans[groups.get(name, name)])
    for node in reversed(graph):
        name = node.outputs[0].name or ""
        if name in bounds:
            _absorb(plan, node, bounds[name])
    _constant_grids(graph, groups, spans, plan)
    quantize_weights(graph, plan)
    return plan


def _symmetric_for_abs(graph: ir.Graph, groups: dict[str, str], spans: dict[str, Range]) -> None:
    """Grids with zero point 0 where an Abs reads values of both signs: with any other the NPU leaves it to the CPU."""
    for node in graph:
        source = node.inputs[0].name or "" if node.op_type == "Abs" and node.inputs[0] is not None else ""
        low, high = spans.get(groups.get(source, source), (0.0, 0.0))
        if low < 0 < high:
            spans[groups.get(source, source)] = (-max(-low, high), max(-low, high))


def _absorb(plan: Plan, node: ir.Node, bounds: Range) -> None:
    """Drop a Relu or Clip whose output grid lies inside its bounds; else let its input saturate at the bounds."""
    source, output = node.inputs[0], node.outputs[0]
    assert source is not None
    grid = plan.grids[output.name or ""]
    if grid.low >= bounds[0] - grid.scale / 2 and grid.high <= bounds[1] + grid.scale / 2:
        plan.absorbed.add(output.name or "")
        plan.absorbed_inputs.add(source.name or "")
    elif node.op_type != "Min":  # whose other channels may reach further
        grid = Grid.from_range(max(grid.low, bounds[0]), min(grid.high, bounds[1]))
    for value in clipped_with(source):
        plan.grids[value.name or ""] = grid


def _constant_grids(graph: ir.Graph, groups: dict[str, str], spans: dict[str, Range], plan: Plan) -> None:
    for node in graph:
        for operand in float_operands(node):
            name = operand.value.name or ""
            if operand.role == "constant":
                numbers = constant(operand.value)
                span = spans[groups[name]] if name in groups else (numbers.min(initial=0), numbers.max(initial=0))
                if not np.isfinite([*span, np.float32(span[1]) - np.float32(span[0])]).all():
                    raise QuantizationError(
                        "a constant does not fit an INT8 grid", place=f"{name} of node {node.name}",
                        limit="finite numbers, and a finite distance between them",
                        found=f"{span[0]:g} to {span[1]:g}", remedy="check how the constant is made, or clip it",
                    )  # fmt: skip
                plan.grids[name] = Grid.from_range(float(span[0]), float(span[1]))


def quantize_weights(graph: ir.Graph, plan: Plan) -> None:
    """Integer weights by nearest rounding for every weight of the graph, as its bias and input grid allow."""
    for node in graph:
        for operand in float_operands(node):
            if operand.role != "weight" or operand.axis is None:
                continue
            weight = constant(operand.value)
            least: NDArray[np.float32] | float = 0.0
            bias = node.inputs[2] if len(node.inputs) > 2 and node.op_type != "MatMul" else None
            if bias is not None and node.inputs[0] is not None:
                grid = plan.grids[node.inputs[0].name or ""]
                least = least_weight_scales(node, grid, constant(bias), weight.shape[operand.axis])
            plan.weights[operand.value.name or ""] = _fitted(operand.value, operand.axis, least)


def _fitted(value: ir.Value, axis: int, least: NDArray[np.float32] | float) -> QuantizedWeight:
    """:func:`fit_weight` of a constant; kept beside its numbers, which most plans for a network have in common."""
    tensor, weight = value.const_value, constant(value)
    assert tensor is not None
    known: tuple[int, NDArray[np.float32], QuantizedWeight] | None = tensor.meta.get(_FITTED)
    plain = plain_scales(weight, axis, least)
    if known is None or known[0] != axis or not np.array_equal(known[1], plain):
        known = axis, plain, fit_weight(weight, axis, least)
        tensor.meta[_FITTED] = known
    return known[2]
