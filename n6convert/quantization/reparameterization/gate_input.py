"""GELU, SiLU and Swish of straight parts with channels of very different size: ``x * f(x)``, f alone saturates.

A factor of a channel may pass through the product but not through f. So f gets a copy of x through a depthwise 1x1
convolution, cut where f is flat::

    u = Clip(x * k)     y = x * f(u)

Equalization can then divide a huge channel of x and y, and the depthwise weights undo that in front of f. Exact but
for f beyond the cut (below 2e-4 for Erf, 4e-4 for Sigmoid). The finer grid of u is a gain by itself. HardSigmoid and
HardSwish need no function beside the copy, exactly::

    u = Clip(x / 6 + 1/2, 0, 1)     y = x * u
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as passes

from n6convert.graph.builder import Builder
from n6convert.graph.query import is_constant
from n6convert.quantization.prepare.operator_forms import constant, static_dims, take_over
from n6convert.quantization.ranges.channel_extents import Extents, extents
from n6convert.types import Feeds

__all__ = ["ONE_PASS", "gate_axes", "decouple_gate_inputs"]

#: where each function is flat
_FLAT = {"Erf": 2.7, "Sigmoid": 8.0, "Tanh": 4.0}
#: slope and middle of functions that are straight between 0 and 1, where no attribute says otherwise
_STRAIGHT = {"HardSwish": (1 / 6, 0.5), "HardSigmoid": (0.2, 0.5)}
#: functions that multiply by the gate themselves: one pass over the tensor, where the other form takes two
ONE_PASS = frozenset({"HardSwish"})
#: channels whose vectors the NPU holds; those of more are streamed from flash for every column of the map
_VECTORS = 512
#: a channel that many times larger than the usual one costs the others three bits
_UNEVEN = 4.0


@dataclass
class _Gate:
    """``function(x * factor)``; x, with channels along ``axis``, is multiplied elsewhere as well.

    Attributes:
        factor: of a straight function with its slope.
    """

    x: ir.Value
    factor: float
    function: ir.Node
    axis: int


def decouple_gate_inputs(
    model: ir.Model, samples: Iterable[Feeds], threads: int | None = None, known: Extents | None = None
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy whose uneven gates have a copy of their input to themselves, and a record of each.

    Args:
        model: prepared float model.
        samples: enough to know the peak of every channel.
        threads: None: as many as there are cores.
        known: what was seen before of tensors that the model has under the same names.
    """
    model = model.clone()
    gates = list(_find(model.graph))
    records = []
    for gate, unevenness in zip(gates, _unevenness(model, gates, samples, threads, known), strict=True):
        if unevenness > _UNEVEN:
            _replace(model.graph, gate)
            function = gate.function.op_type
            records.append(
                {"tensor": gate.x.name, "function": function, "largest_to_usual_channel": round(unevenness, 1)}
            )
    if records:
        model.graph.sort()
        passes.RemoveUnusedNodesPass()(model)  # products with scalars that only the gate read
    return model, records


def _find(graph: ir.Graph) -> Iterator[_Gate]:
    for node in graph:
        if node.op_type in _FLAT or node.op_type in _STRAIGHT:
            x, factor = _unscaled(node.inputs[0])
            axis = _channel_axis(x)
            if axis is not None and (node.op_type in ONE_PASS or len(x.uses()) > 1):
                yield _Gate(x, factor * _slope(node)[0], node, axis)


def _slope(function: ir.Node) -> tuple[float, float]:
    """Slope and value at 0 of what a function does to the copy of its input in front of the cut."""
    slope, middle = _STRAIGHT.get(function.op_type, (1.0, 0.0))
    return function.attributes.get_float("alpha", slope), function.attributes.get_float("beta", middle)


def _unscaled(value: ir.Value | None) -> tuple[ir.Value, float]:
    """The tensor before products with scalars, and their product."""
    assert value is not None
    numbers: list[tuple[str, float]] = []
    while (maker := value.producer()) is not None and maker.op_type in ("Mul", "Div"):
        other = maker.inputs[1]
        if not is_constant(other) or constant(other).size != 1 or maker.inputs[0] is None:
            break
        number = float(constant(other).item())
        if maker.op_type == "Div" and not number:
            break
        numbers.append((maker.op_type, number))
        value = maker.inputs[0]
    factor = 1.0
    for kind, number in reversed(numbers):
        factor = factor * number if kind == "Mul" else factor / number
    return value, factor


def _channel_axis(value: ir.Value) -> int | None:
    """Channels come second in images, last in sequences; None for constants and shapes that are not known."""
    if value.producer() is None or value.shape is None or not value.shape.is_static():
        return None
    rank = len(value.shape)
    return 1 if rank == 4 else rank - 1 if rank in (2, 3) else None


def gate_axes(graph: ir.Graph) -> dict[str, tuple[int, ...]]:
    """The inputs of such gates, with the axes that lie within a channel."""
    return {gate.x.name or "": _within_channel(gate) for gate in _find(graph)}


def _within_channel(gate: _Gate) -> tuple[int, ...]:
    return tuple(i for i in range(len(gate.x.shape or ())) if i != gate.axis)


def _unevenness(
    model: ir.Model, gates: Sequence[_Gate], samples: Iterable[Feeds], threads: int | None, known: Extents | None
) -> list[float]:
    """Largest over median peak of the channels of each gate, above zero: below it the product is small."""
    seen = Extents(known or {})
    axes = {gate.x.name or "": _within_channel(gate) for gate in gates}
    seen |= extents(model, {n: a for n, a in axes.items() if not seen.covers(n, a)}, samples, threads)
    peaks = [seen[gate.x.name or ""].high.ravel() for gate in gates]
    return [float(p.max() / max(float(np.median(p)), 1e-30)) for p in peaks]


def _replace(graph: ir.Graph, gate: _Gate) -> None:
    build = Builder(graph, f"{gate.function.name or gate.x.name}/gate", graph.opset_imports.get("", 17))
    dims = static_dims(gate.x.shape or ir.Shape([]))
    straight, flat = gate.function.op_type in _STRAIGHT, _FLAT.get(gate.function.op_type, 1.0)
    copies = []
    for part in _parts(build.as_map(gate.x, gate.axis)):
        channels = static_dims(part.shape or ir.Shape([]))[1]
        middle = np.full(channels, _slope(gate.function)[1]) if straight else None
        copy = build.conv(part, np.full((channels, 1, 1, 1), gate.factor), middle, group=channels)
        copies.append(build.clip(copy, 0.0 if straight else -flat, flat))
    u = build.from_map(build.concat(copies, axis=1) if len(copies) > 1 else copies[0], gate.axis, dims)
    if straight:
        whole = gate.function.op_type in ONE_PASS
        product = [ir.node("Mul", [gate.function.inputs[0], u], name=gate.function.name)] if whole else []
        take_over(graph, gate.function, [*build.nodes, *product])
    else:
        graph.insert_before(gate.function, build.nodes)
        gate.function.replace_input_with(0, u)


def _parts(x: ir.Value) -> list[ir.Value]:
    """What a map was put together from, where the NPU holds the vectors by channel of each part; else the map."""
    maker = x.producer()
    along_channels = maker is not None and maker.op_type == "Concat" and maker.attributes.get_int("axis", 0) == 1
    parts = [v for v in maker.inputs if v is not None] if maker is not None and along_channels else [x]
    fits = all(static_dims(v.shape or ir.Shape([]))[1] <= _VECTORS for v in parts)
    return parts if fits else [x]
