"""Where the error comes from: SQNR of every tensor, the worst ones with their likely cause and a remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.numerics import Session
from n6convert.quantization.grid import CODE_MAX, CODE_MIN, Grid
from n6convert.quantization.judge import Judge
from n6convert.quantization.normalize import constant, new_constant, static_dims
from n6convert.quantization.plan import Plan
from n6convert.quantization.subgraph import with_outputs

__all__ = ["explain", "leave_one_out", "one_at_a_time", "tensor_sqnr", "worst"]

Sample = Mapping[str, NDArray[Any]]
#: values of all tensors that are looked at together, at most
_VALUES = 1 << 23
_REMEDIES = {
    "outlier channel": "equalization evens channels out; or split the channel off in the model",
    "mixed range": "give the parts outputs of their own instead of one Concat (boxes and scores, pixels and shares)",
    "saturation": "set a wider range in ranges.json, or `ranges: minmax`",
    "tiny scale": "the tensor is almost constant: check that it is used, or fold it",
    "inherited": "the error comes from tensors before it; mend those first",
}


def tensor_sqnr(float_model: ir.Model, model: ir.Model, plan: Plan, samples: Sequence[Sample]) -> dict[str, float]:
    """SQNR in dB of each activation of the INT8 model against float, all earlier errors included."""
    pairs = _dequantized(model)
    names = [n for n in plan.grids if n in pairs and n not in plan.absorbed_inputs]
    found: dict[str, float] = {}
    for part in _portions(float_model.graph, names):
        found |= _portion_sqnr(float_model, model, {n: pairs[n] for n in part}, samples)
    return found


def _portions(graph: ir.Graph, names: Sequence[str]) -> Iterator[list[str]]:
    """The names in portions whose tensors together stay small: all at once would take the memory of the whole run."""
    sizes = {v.name: math.prod(static_dims(v.shape)) for n in graph for v in n.outputs if v.shape is not None}
    part: list[str] = []
    values = 0
    for name in names:
        if part and values + sizes.get(name, 0) > _VALUES:
            yield part
            part, values = [], 0
        part.append(name)
        values += sizes.get(name, 0)
    if part:
        yield part


def _portion_sqnr(
    float_model: ir.Model, model: ir.Model, pairs: Mapping[str, str], samples: Sequence[Sample]
) -> dict[str, float]:
    inputs = {v.name for v in float_model.graph.inputs}
    inner = [n for n in pairs if n not in inputs]
    exact = Session(with_outputs(float_model, inner)) if inner else None
    rounded = Session(with_outputs(model, list(pairs.values())), optimize=False)
    signal, noise = dict.fromkeys(pairs, 0.0), dict.fromkeys(pairs, 0.0)
    for sample in samples:
        reference = {**sample, **(exact.run({n: sample[n] for n in exact.inputs}) if exact else {})}
        found = rounded.run({n: sample[n] for n in rounded.inputs})
        for name, dequantized in pairs.items():
            gap = found.pop(dequantized).astype(np.float64) - reference[name]
            signal[name] += float(np.sum(reference[name].astype(np.float64) ** 2))
            noise[name] += float(np.sum(gap**2))
    return {n: _decibel(signal[n], noise[n]) for n in pairs}


def one_at_a_time(model: ir.Model, judge: Judge, names: Sequence[str]) -> dict[str, float]:
    """Mean output SQNR in dB when only the named tensor (and every constant) is INT8."""
    return {name: judge.score(_with_pairs(model, lambda n, keep=name: n == keep)) for name in names}


def leave_one_out(model: ir.Model, judge: Judge, names: Sequence[str]) -> dict[str, float]:
    """dB of output SQNR gained when the named tensor alone is left in float."""
    base = judge.score(model)
    return {name: judge.score(_with_pairs(model, lambda n, out=name: n != out)) - base for name in names}


def worst(
    sqnr: Mapping[str, float], statistics: Mapping[str, Any], plan: Plan, graph: ir.Graph, count: int = 10
) -> list[dict[str, Any]]:
    """The tensors with the least SQNR, each with its grid, its values, its likely cause and a remedy."""
    by_name = {v.name: v for node in graph for v in node.outputs}
    ranked = sorted(sqnr, key=lambda n: sqnr[n])[:count]
    return [
        {"name": n, "sqnr_db": sqnr[n]}
        | explain(n, by_name.get(n), sqnr, statistics.get(n), plan)
        | _picture(plan.grids[n], statistics.get(n))
        for n in ranked
    ]


def _picture(grid: Grid, statistics: Any) -> dict[str, Any]:
    """The grid, and the values seen where a histogram was made."""
    histogram = getattr(statistics, "histogram", None)
    seen = {"histogram": histogram.summary()} if histogram is not None else {}
    return {"scale": grid.scale, "zero_point": grid.zero_point} | seen


def explain(
    name: str, value: ir.Value | None, sqnr: Mapping[str, float], statistics: Any, plan: Plan
) -> dict[str, str]:
    """The likely cause of a tensor's error, and what to do about it."""
    cause = _cause(name, value, sqnr, statistics, plan)
    return {"cause": cause, "remedy": _REMEDIES[cause]}


def _cause(name: str, value: ir.Value | None, sqnr: Mapping[str, float], statistics: Any, plan: Plan) -> str:
    producer = value.producer() if value is not None else None
    names = [v.name or "" for v in (producer.inputs if producer else ()) if v is not None]
    before = [sqnr[n] for n in names if n in sqnr]
    if before and min(before) < sqnr[name] + 3:
        return "inherited"
    grid = plan.grids[name]
    if producer is not None and producer.op_type == "Concat":
        spans = [plan.grids[v.name or ""].scale for v in producer.inputs if v is not None and v.name in plan.grids]
        if spans and max(spans) > 8 * min(spans):
            return "mixed range"
    if grid.scale < 1e-6:
        return "tiny scale"
    if statistics is not None and (statistics.low < grid.low * 1.5 - 1e-9 or statistics.high > grid.high * 1.5 + 1e-9):
        return "saturation"
    return "outlier channel"


def _dequantized(model: ir.Model) -> dict[str, str]:
    """Planned tensor name -> name of its dequantized value in the INT8 model."""
    found = {}
    for node in model.graph:
        if node.op_type == "QuantizeLinear" and node.inputs[0] is not None:
            name = (node.inputs[0].name or "").removesuffix("_QuantizeLinear_Input")
            for user in node.outputs[0].consumers():
                found[name] = user.outputs[0].name or ""
    return found


def _with_pairs(model: ir.Model, keep: Any) -> ir.Model:
    """A copy of the INT8 model in which only the pairs of the chosen tensors round.

    A grid that starts at 0 may stand for a Relu or Clip, so its bounds stay where its rounding goes.
    """
    copy = model.clone()
    for node in list(copy.graph):
        if node.op_type != "QuantizeLinear" or node.inputs[0] is None:
            continue
        name = (node.inputs[0].name or "").removesuffix("_QuantizeLinear_Input")
        if keep(name):
            continue
        source = _clipped(copy.graph, node)
        for user in list(node.outputs[0].consumers()):
            if not user.outputs[0].is_graph_output():
                user.outputs[0].replace_all_uses_with(source)
    return copy


def _clipped(graph: ir.Graph, quantize: ir.Node) -> ir.Value:
    """What a quantizer reads, inside the grid's bounds where the grid starts at 0."""
    source = quantize.inputs[0]
    scale, zero_point = (float(constant(v)) for v in quantize.inputs[1:3])
    assert source is not None
    if zero_point != CODE_MIN:
        return source
    bounds = (0.0, scale * (CODE_MAX - CODE_MIN))
    limits = [new_constant(graph, f"{source.name}_bound", np.array(b, np.float32)) for b in bounds]
    clip = ir.node("Clip", [source, *limits], name=f"{source.name}_clip")
    clip.outputs[0].name = f"{source.name}_clipped"
    graph.insert_before(quantize, clip)
    return clip.outputs[0]


def _decibel(signal: float, noise: float) -> float:
    return 120.0 if noise == 0 else float(10 * np.log10(max(signal, 1e-300) / noise))
