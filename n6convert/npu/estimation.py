"""``estimate()``: read, lower, place, group, price; everything the report needs, for any model and any target."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.lazy import late
from n6convert.npu.advice import Advice, ZeroPointAdvice, advise, advise_zero_points
from n6convert.npu.bottlenecks import Bottlenecks, find_bottlenecks
from n6convert.npu.costs import Costs, cost, fill_operators
from n6convert.npu.graph import Graph, depth_first
from n6convert.npu.ir import Lowered, PlacementReport, Schedule, Where
from n6convert.npu.options import STOCK, CompilerOptions
from n6convert.npu.placement import place, read, report
from n6convert.npu.quantized import assume_int8
from n6convert.npu.targets import DEFAULT_TARGET, Target, load_target

if TYPE_CHECKING:
    import onnx
    import onnx_ir

__all__ = ["SCHEMA", "Estimate", "estimate"]

_as_report, _cell = late("n6convert.report.notebook.as_report"), late("n6convert.report.notebook.cell")
_summary = late("n6convert.report.summary.summary_text")

SCHEMA = 1
"""Version of the JSON that :meth:`Estimate.facts` gives."""


@dataclass(slots=True, repr=False)
class Estimate:
    """What is predicted for one model on one target."""

    model: str
    target: Target
    style: str
    """How the model is quantized: ``qdq``, ``qoperator``, ``tflite``, or ``float`` when it is not."""
    placement: PlacementReport
    lowered: Lowered
    schedule: Schedule
    costs: Costs
    advice: list[Advice] = field(default_factory=list)
    zero_points: ZeroPointAdvice | None = None
    warnings: list[str] = field(default_factory=list)
    options: CompilerOptions = STOCK

    def bottlenecks(self) -> Bottlenecks:
        """What the time is spent on, the longest epochs, and what would change them; priced when it is asked for."""
        return find_bottlenecks(self.lowered, self.schedule, self.costs, self.target, self.advice)

    def __repr__(self) -> str:
        time, epochs = self.costs.latency, self.placement.epochs
        spread = f"{time.milliseconds:.2f} ms ({time.low:.2f} to {time.high:.2f})"
        return f"Estimate({self.model!r}, {self.target.name!r}, {spread}, {epochs.hw} of {epochs.total} epochs hw)"

    def summary(self) -> str:
        """The prediction in a few lines."""
        return str(_summary(_as_report(self.facts())))

    def to_dict(self) -> dict[str, Any]:
        """:meth:`facts`."""
        return self.facts()

    def _repr_html_(self) -> str:
        return str(_cell(_as_report(self.facts())))

    def facts(self) -> dict[str, Any]:
        """The prediction as plain data: ``placement``, ``memory``, ``cycles``, ``latency``, ``advice`` and more."""
        placement = asdict(self.placement)
        placement["offload"] = round(self.placement.offload, 6)
        costs = self.costs.as_dict()
        costs["latency"]["bottlenecks"] = _rounded(asdict(self.bottlenecks()))
        return {
            "schema": SCHEMA,
            "model": self.model,
            "quantization_style": self.style,
            "target": self.target.name,
            "placement": placement,
            **costs,
            "options": self.options.words(),
            "advice": [asdict(line) for line in self.advice],
            "zero_points": asdict(self.zero_points) if self.zero_points else None,
            "warnings": list(self.warnings),
        }


def estimate(
    model: str | Path | onnx.ModelProto | onnx_ir.Model,
    target: str | Target = DEFAULT_TARGET,
    *,
    options: CompilerOptions = STOCK,
    assume_quantized: bool = False,
) -> Estimate:
    """Predict placement, epochs, memory, cycles and time of a model without ST's compiler and without a board.

    Args:
        model: a quantized (or float) ONNX file, an INT8 TFLite file, or a model in memory.
        target: ``board@version`` such as ``stm32n6570-dk@4.0``, or a target.
        options: how it is compiled and the board is set up, where that differs from the target's stock profile.
        assume_quantized: take a float model as if all its tensors were int8, to judge it before quantization.

    Raises:
        SourceError: no such file.
        GraphError: the model is damaged, not static, or of another kind.
        RecipeError: unknown target, or an impossible option.
    """
    place_on = options.on(load_target(target) if isinstance(target, str) else target)

    def prepared() -> Graph:
        graph = read(model)
        if assume_quantized:
            assume_int8(graph)
        return graph

    graph = prepared()
    name, style, notes, unsigned = graph.name, graph.style, list(graph.notes), _unsigned(graph)
    lowered, plan, costs = _scheduled(graph, place_on, options)
    if costs.memory.external or not costs.memory.fits:
        graph = prepared()
        graph.nodes = depth_first(graph)
        other = _scheduled(graph, place_on, options)
        lowered, plan, costs = min((lowered, plan, costs), other, key=lambda found: found[2].latency.milliseconds)
    times = {epoch.id: epoch.microseconds + epoch.overhead for epoch in costs.epochs}
    found = report(plan, place_on.version, times)
    fill_operators(found.operators, costs)
    return Estimate(
        model=name,
        target=place_on,
        style=style,
        placement=found,
        lowered=lowered,
        schedule=plan,
        costs=costs,
        advice=advise(lowered, plan, costs, place_on),
        zero_points=advise_zero_points(lowered, plan, costs, place_on),
        warnings=notes + _warnings(style, unsigned, lowered, plan, costs),
        options=options,
    )


def _rounded(value: Any) -> Any:
    """Plain data with numbers to the nanosecond."""
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def _scheduled(graph: Graph, target: Target, options: CompilerOptions) -> tuple[Lowered, Schedule, Costs]:
    """One order of execution. The compiler weighs memory and epochs together ([#schedule-unknown]), so orders are
    compared."""
    lowered, plan = place(graph, target.version, frozenset(target.switches), options.ends)
    allocate = (options.allocate_inputs, options.allocate_outputs)
    return lowered, plan, cost(lowered, plan, target, allocate=allocate)


def _unsigned(graph: Graph) -> bool:
    """Whether an operator's result is uint8, in the file: the compiler itself shifts some maps to it."""
    return any(graph.tensors[n].dtype == "uint8" for node in graph.nodes for n in node.outputs if n in graph.tensors)


def _warnings(style: str, unsigned: bool, lowered: Lowered, plan: Schedule, costs: Costs) -> list[str]:
    found = []
    if style == "float":
        found.append("the model is not quantized: every operator runs in float on the Cortex-M55; quantize it first")
    elif style in ("qdq", "qoperator") and unsigned:
        found.append("activations are uint8: ST's import takes int8 only; quantize with signed activations")
    elif not any(epoch.kind is Where.HW for epoch in plan.epochs):
        found.append("no operator runs on the NPU")
    if any(op.rule == "softmax-expanded" for op in lowered.ops):
        found.append(
            "--expand-softmax: any accuracy measured offline has Softmax computed exactly; what the compiler's own "
            "expansion loses is not published"
        )
    memory = costs.memory
    if not memory.fits:
        found.append(f"the model does not fit: {memory.missing:,} bytes find no place; use a smaller input")
    elif memory.external:
        found.append(
            f"{memory.external:,} bytes of activations leave the chip for external RAM, which costs a multiple of the "
            "time; use a smaller input"
        )
    return found
