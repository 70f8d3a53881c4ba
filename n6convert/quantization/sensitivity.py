"""Where the error comes from: SQNR of every tensor, the worst ones with their likely cause and a remedy."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import odd_step, thin_outputs, with_outputs
from n6convert.graph.operators import RESHAPES
from n6convert.quantization.ceilings import planned_name, with_exact_tensors, with_pairs
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.prepare.operator_forms import static_dims
from n6convert.quantization.ranges.consumers import Functions, consumer_functions
from n6convert.runtime.comparison import Noise
from n6convert.runtime.halves import Half, in_halves
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = [
    "CAUSES", "TensorError", "explain", "leave_one_out", "measured", "one_at_a_time", "tensor_errors", "tensor_facts",
    "worst",
]  # fmt: skip

#: values of all tensors of a sample that are looked at together, at most
_VALUES = 1 << 24
#: codes of the median value below which a few large values are taken as the cause of the step
_FEW_CODES = 4.0
#: SQNR in dB of an 8-bit grid for a Gaussian clipped at 4 sigma
_FINE = 40.0
#: how much wider one operand of a Concat may be than another
_WIDER = 8.0
#: share of a tensor's noise for which the ends of its grid are taken as the cause
_CUT_OFF = 0.5
#: scale below which a tensor is as good as constant
_TINY = 1e-6
#: cause: how it is seen, and what to do about it; in the order in which they are looked for
CAUSES = {
    "mixed range": (
        f"a Concat of tensors of which one reaches {_WIDER:g} times as far as another",
        "give the parts outputs of their own instead of one Concat (boxes and scores, pixels and shares)",
    ),
    "tiny scale": (f"a step below {_TINY:g}", "the tensor is almost constant: check that it is used, or fold it"),
    "outlier channel": (
        f"half of the values lie within {_FEW_CODES:g} codes of zero: a few large ones take the grid",
        "equalization evens channels out; or split the channel off in the model",
    ),
    "eight bits": (f"{_FINE:g} dB or more", "none needed: its values fill the grid as well as 8 bits allow"),
    "saturation": (
        f"more than {_CUT_OFF:.0%} of its noise comes from values beyond the ends of its grid",
        "set a wider range in ranges.json, or `ranges: minmax`",
    ),
    "inherited": ("a tensor in front has the same error, or few codes", "repair the tensors in front of it first"),
    "weights": (
        "nothing of the above",
        "rounded weights, or a difference of large numbers: `rounding: second-order` and `bias_correction`",
    ),
}
#: what stands for the SQNR of a tensor without error
_EQUAL_DB = 120.0
_SAME_VALUES = RESHAPES | {"Identity", "Transpose"}
#: values of one tensor and sample that are compared; of larger tensors an even share
_COMPARED = 1 << 14


@dataclass(frozen=True)
class TensorError:
    """How one activation of the INT8 model differs from float.

    Attributes:
        sqnr_db: signal to noise behind the functions that read it (what a Relu or SiLU forgets is no error), all
            earlier errors included.
        median_codes: by how many codes the median of the values that are not zero lies away from zero.
        cut_off: share of the noise that comes from values beyond the ends of the grid.
    """

    sqnr_db: float
    median_codes: float
    cut_off: float


@dataclass
class _Sums:
    """Energies of one tensor behind the functions that read it, and its median, over samples."""

    functions: Functions
    grid: Grid
    rounded: Noise = field(default_factory=Noise)
    cut_off: Noise = field(default_factory=Noise)
    median: float = 0.0

    def add(self, exact: NDArray[np.float32], rounded: NDArray[np.float32], samples: int) -> None:
        exact, rounded = _some(exact), _some(rounded)
        ends = np.clip(exact, np.float32(self.grid.low), np.float32(self.grid.high))
        for a, b, c in zip(*(self.functions(v) for v in (exact, rounded, ends)), strict=True):
            self.rounded.add(a, b)
            self.cut_off.add(a, c)
        self.median += _median(exact) / samples

    def error(self) -> TensorError:
        cut_off, noise = self.cut_off.noise, self.rounded.noise
        share = cut_off / noise if noise and math.isfinite(cut_off) else float(cut_off > 0)
        decibel = self.rounded.sqnr_db
        return TensorError(_EQUAL_DB if decibel is None else decibel, self.median / self.grid.scale, share)


def tensor_errors(
    float_model: ir.Model, model: ir.Model, plan: Plan, samples: Sequence[Feeds]
) -> dict[str, TensorError]:
    """The error of each activation of the INT8 model against float, by name.

    Args:
        float_model: prepared.
        model: INT8.
        plan: grids of the INT8 model.
        samples: arrays by input name.
    """
    pairs = _dequantized(model)
    names = [n for n in plan.grids if n in pairs and n not in plan.absorbed_inputs]
    origins = _origins(float_model.graph, plan, set(names))

    def errors(half: Half) -> NDArray[Any]:
        found: dict[str, TensorError] = {}
        own = names[half.span(len(names))]
        for part in _portions(float_model.graph, list(dict.fromkeys(origins[n] for n in own))):
            moved = [n for n in own if origins[n] in part]
            found |= _portion_errors(float_model, model, plan, {n: pairs[n] for n in part}, samples, moved, origins)
        return half.joined(np.array([astuple(found[n]) for n in own], np.float64).reshape(-1, 3))

    rows = in_halves(errors, len(names))
    return {name: TensorError(*row) for name, row in zip(names, rows.tolist(), strict=True)}


def _origins(graph: ir.Graph, plan: Plan, names: Collection[str]) -> dict[str, str]:
    """The tensor of the same values, in another order or shape and on the same grid, that is looked at for each one."""
    found = {name: name for name in names}
    for node in graph:
        if node.op_type in _SAME_VALUES and node.inputs[0] is not None:
            source, name = node.inputs[0].name or "", node.outputs[0].name or ""
            if source in found and name in found and plan.grids[name] == plan.grids[source]:
                found[name] = found[source]
    return found


def _portions(graph: ir.Graph, names: Sequence[str]) -> Iterator[list[str]]:
    """The names in portions whose tensors together stay small: all at once would take the memory of the whole run."""
    sizes = _sizes(graph)
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


def _portion_errors(
    float_model: ir.Model,
    model: ir.Model,
    plan: Plan,
    pairs: Mapping[str, str],
    samples: Sequence[Feeds],
    names: Sequence[str],
    origins: Mapping[str, str],
) -> dict[str, TensorError]:
    """Errors of the named tensors, from the values of their origins."""
    inputs = {v.name for v in float_model.graph.inputs}
    values = {v.name: v for v in (*float_model.graph.inputs, *(v for n in float_model.graph for v in n.outputs))}
    sizes = _sizes(float_model.graph)
    inner: dict[str | None, int] = {n: sizes[n] for n in pairs if n not in inputs}
    exact = _outputs(float_model, inner, samples)
    rounded = _outputs(model, {pairs[n]: sizes[n] for n in pairs}, samples, optimize=False)
    seen = [({**s, **e}, r) for s, e, r in zip(samples, exact, rounded, strict=True)]
    errors = {}
    for name in names:  # one by one: what computes the functions takes memory
        sums, origin = _Sums(consumer_functions(float_model, values[name]), plan.grids[name]), origins[name]
        for reference, found in seen:
            sums.add(reference[origin], found[pairs[origin]], len(samples))
        errors[name] = sums.error()
    return errors


def _sizes(graph: ir.Graph) -> dict[str | None, int]:
    values = [*graph.inputs, *(v for n in graph for v in n.outputs)]
    return {v.name: math.prod(static_dims(v.shape)) for v in values if v.shape is not None}


def _outputs(
    model: ir.Model, sizes: Mapping[str | None, int], samples: Sequence[Feeds], *, optimize: bool = True
) -> list[dict[str, NDArray[Any]]]:
    """The values of tensors of these sizes that are compared, of each sample; the session's memory is free again."""
    if not sizes:
        return [{} for _ in samples]
    copy = with_outputs(model, [name or "" for name in sizes])
    thin_outputs(copy, _COMPARED, sizes)
    session = Session(copy, optimize=optimize, last_use=True, few_runs=True)
    return [session.run_on(sample) for sample in samples]


def _some(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The flat values that are compared; all of those that :func:`_outputs` gives."""
    return values.reshape(-1)[:: odd_step(values.size, _COMPARED)]


def _median(values: NDArray[Any]) -> float:
    """Median distance from zero of the values that are not zero; 0 without any."""
    flat = np.abs(values)
    counted = flat[(flat > 0) & np.isfinite(flat)]
    return float(np.median(counted)) if counted.size else 0.0


def measured(errors: Callable[[], dict[str, TensorError]]) -> tuple[dict[str, TensorError], list[str]]:
    """The errors of tensors, and a warning in their place where measuring them fails.

    They explain a model that is made already: nothing that goes wrong with them may take the model with it.
    """
    try:
        return errors(), []
    except Exception as error:
        logging.getLogger(__name__).debug("tensors were not measured", exc_info=True)
        text = str(error).strip() or type(error).__name__
        return {}, [f"the errors of single tensors could not be measured, so none are shown: {text}"]


def tensor_facts(plan: Plan, errors: Mapping[str, TensorError] | None) -> list[dict[str, Any]]:
    """Grid and SQNR of each tensor, for the report; None in place of SQNR where errors were not measured."""
    measured = {n: e.sqnr_db for n, e in errors.items()} if errors is not None else dict.fromkeys(plan.grids)
    return [
        {"name": n, "scale": g.scale, "zero_point": g.zero_point, "sqnr_db": measured[n]}
        for n, g in plan.grids.items()
        if n in measured
    ]


def one_at_a_time(model: ir.Model, evaluator: Evaluator, names: Sequence[str]) -> dict[str, float]:
    """Mean output SQNR in dB when only the named tensor (and every constant) is INT8.

    Args:
        model: INT8.
        evaluator: holds the float answers.
        names: of tensors.
    """
    return {name: evaluator.score(with_pairs(model, name.__eq__)) for name in names}


def leave_one_out(model: ir.Model, evaluator: Evaluator, names: Sequence[str]) -> dict[str, float]:
    """dB of output SQNR gained when the named tensor alone is left in float.

    Args:
        model: INT8.
        evaluator: holds the float answers.
        names: of tensors.
    """
    base = evaluator.score(model)
    return {name: evaluator.score(with_exact_tensors(model, {name})) - base for name in names}


def worst(
    errors: Mapping[str, TensorError], statistics: Mapping[str, Any], plan: Plan, graph: ir.Graph, count: int = 10
) -> list[dict[str, Any]]:
    """The tensors with the least SQNR, each with its grid, its values, its likely cause and a remedy.

    Args:
        errors: by tensor name.
        statistics: by tensor name.
        plan: grids of the INT8 model.
        graph: of the INT8 model.
        count: how many.
    """
    by_name = {v.name: v for node in graph for v in node.outputs}
    ranked = sorted(errors, key=lambda n: errors[n].sqnr_db)[:count]
    return [
        {"name": n, "sqnr_db": errors[n].sqnr_db, "median_codes": errors[n].median_codes}
        | explain(n, by_name.get(n), errors, plan)
        | _picture(plan.grids[n], statistics.get(n))
        for n in ranked
    ]


def _picture(grid: Grid, statistics: Any) -> dict[str, Any]:
    """The grid, and the values seen where a histogram was made."""
    histogram = getattr(statistics, "histogram", None)
    seen = {"histogram": histogram.summary()} if histogram is not None else {}
    return {"scale": grid.scale, "zero_point": grid.zero_point} | seen


def explain(name: str, value: ir.Value | None, errors: Mapping[str, TensorError], plan: Plan) -> dict[str, str]:
    """The likely cause of a tensor's error, and what to do about it.

    Args:
        name: of the tensor.
        value: it, where the graph has it.
        errors: by tensor name.
        plan: grids of the INT8 model.
    """
    cause = _cause(name, value, errors, plan)
    return {"cause": cause, "remedy": CAUSES[cause][1]}


def _cause(name: str, value: ir.Value | None, errors: Mapping[str, TensorError], plan: Plan) -> str:
    producer = value.producer() if value is not None else None
    operands = [v.name or "" for v in (producer.inputs if producer else ()) if v is not None]
    grid, found = plan.grids[name], errors[name]
    if producer is not None and producer.op_type == "Concat":
        spans = [plan.grids[n].scale for n in operands if n in plan.grids]
        if spans and max(spans) > _WIDER * min(spans):
            return "mixed range"
    if grid.scale < _TINY:
        return "tiny scale"
    if found.median_codes < _FEW_CODES:
        return "outlier channel"
    if found.sqnr_db >= _FINE:
        return "eight bits"
    if found.cut_off > _CUT_OFF:
        return "saturation"
    before = [errors[n] for n in operands if n in errors]
    spoiled = any(e.sqnr_db < found.sqnr_db + 3 or e.median_codes < _FEW_CODES for e in before)
    return "inherited" if spoiled else "weights"


def _dequantized(model: ir.Model) -> dict[str, str]:
    """Planned tensor name -> name of its dequantized value in the INT8 model."""
    found = {}
    for node in model.graph:
        if node.op_type == "QuantizeLinear" and node.inputs[0] is not None:
            name = planned_name(node.inputs[0])
            for user in node.outputs[0].consumers():
                found[name] = user.outputs[0].name or ""
    return found
