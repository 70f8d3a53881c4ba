"""Placement of a model: operators lowered, placed and grouped into epochs, and the facts that the report prints."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.errors import GraphError
from n6convert.graph.operators import CONVERSIONS
from n6convert.npu.doubts import mark
from n6convert.npu.ends import AS_MODELED, Ends
from n6convert.npu.epochs import schedule
from n6convert.npu.graph import Graph
from n6convert.npu.ir import EpochCounts, Lowered, Op, OperatorReport, PlacementReport, Schedule, Where
from n6convert.npu.lowering import lower
from n6convert.operators.versions import has

if TYPE_CHECKING:
    import onnx
    import onnx_ir

__all__ = ["place", "printed", "read", "report"]


_SURPRISES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What code raises on data that it did not foresee."""


@contextmanager
def _malformed(place: object) -> Iterator[None]:
    """Safety net: a model that confuses the reader or the lowering is reported, never a traceback."""
    try:
        yield
    except _SURPRISES as error:
        raise GraphError(
            "the model is malformed",
            place=place,
            found=f"{type(error).__name__}: {str(error)[:200]}",
            remedy="export it again; if onnx.checker accepts it, please report this as a defect",
        ) from error


@contextmanager
def _paused_collector() -> Iterator[None]:
    """Growing graphs leave no garbage; walking all of them again and again would cost more than linear time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read(model: str | Path | onnx.ModelProto | onnx_ir.Model) -> Graph:
    """Read a model file (ONNX or TFLite) or a model in memory.

    Raises:
        SourceError: no such file.
        GraphError: damaged, not static, or of another kind.
    """
    with _malformed(model if isinstance(model, (str, Path)) else type(model).__name__), _paused_collector():
        return _read(model)


def _read(model: str | Path | onnx.ModelProto | onnx_ir.Model) -> Graph:
    from n6convert.npu.onnx_reader import read_onnx, read_proto

    if isinstance(model, (str, Path)):
        path = Path(model)
        if path.suffix.lower() == ".tflite":
            from n6convert.npu.tflite_reader import read_tflite

            return read_tflite(path)
        return read_onnx(path)
    if type(model).__name__ == "ModelProto":
        return read_proto(_without_functions(model))  # type: ignore[arg-type]
    import onnx_ir

    if isinstance(model, onnx_ir.Model):
        from n6convert.npu.ir_reader import read_ir

        nested = model.functions or any(node.op_type == "If" for node in model.graph)
        return read_proto(onnx_ir.to_proto(model)) if nested else read_ir(model)
    raise GraphError("not a model", found=type(model).__name__, limit="a path, an onnx.ModelProto or an onnx_ir.Model")


def _without_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    from n6convert.graph.io import expand_functions
    from n6convert.graph.structure import count_faults

    if not model.functions:
        return model
    copy = type(model)()
    copy.CopyFrom(model)
    for fault in chain(count_faults(copy), expand_functions(copy)):
        raise fault.error()
    return copy


def place(
    graph: Graph, version: tuple[int, int], switches: frozenset[str] = frozenset(), ends: Ends = AS_MODELED
) -> tuple[Lowered, Schedule]:
    """Lower a graph for a compiler version, its switches and the asked-for inputs and outputs, and group it into
    epochs. The graph is consumed.

    Args:
        graph: changed: read it again for another version.
        version: of the compiler.
        switches: of the compiler, by name.
        ends: the asked-for inputs and outputs.
    """
    with _malformed(graph.name), _paused_collector():
        lowered = lower(graph, version, switches, ends)
        mark(lowered, version)
        return lowered, schedule(lowered, version)


def printed(op: Op, version: tuple[int, int]) -> str:
    """The operator's name as ST's report of that version prints it."""
    marked = op.float and has(version, "marks_float") and op.kind not in CONVERSIONS
    return f"{op.kind}(float)" if marked else op.kind


def report(plan: Schedule, version: tuple[int, int], times: Mapping[int, float] | None = None) -> PlacementReport:
    """Facts for ``report.json``; ``times`` are predicted microseconds by epoch id, when they are known.

    Args:
        plan: the epochs.
        version: of the compiler.
        times: predicted microseconds by epoch id; None: not known.
    """
    counts = EpochCounts.of(plan.epochs)
    off: dict[Where, Counter[str]] = {Where.SW: Counter(), Where.HYBRID: Counter()}
    operators: list[OperatorReport] = []
    for epoch in plan.epochs:
        if epoch.kind in off:
            off[epoch.kind][printed(epoch.ops[0], version)] += 1
        operators.extend(_line(op, epoch.id, version) for op in epoch.ops)
    return PlacementReport(
        epochs=counts,
        offload=counts.offload,
        sw_ops=dict(off[Where.SW]),
        hybrid_ops=dict(off[Where.HYBRID]),
        operators=operators,
        blobs=len(plan.blobs),
        mac_share=_mac_share(plan),
        time_share=_time_share(plan, times),
        edges=_edges(plan),
    )


def _edges(plan: Schedule) -> list[tuple[int, int]]:
    """Which epoch reads what which other wrote; epochs without work pass on what they read."""
    writers: dict[str, frozenset[int]] = {}
    found: list[tuple[int, int]] = []
    for epoch in plan.epochs:
        read = frozenset[int]().union(*(writers.get(name, ()) for name in epoch.inputs)) - {epoch.id}
        idle = epoch.kind is Where.NONE
        if not idle:
            found += [(writer, epoch.id) for writer in sorted(read)]
        writers |= dict.fromkeys(epoch.outputs, read if idle else frozenset({epoch.id}))
    return found


def _line(op: Op, epoch: int, version: tuple[int, int]) -> OperatorReport:
    return OperatorReport(
        name=op.name,
        op=printed(op, version),
        where=op.where,
        epoch=epoch,
        reason=op.reason,
        rule=op.rule,
        evidence=op.evidence,
        remedy=op.remedy,
        rewrite=op.rewrite,
        float=op.float,
        macs=op.macs,
        sources=op.sources,
    )


def _mac_share(plan: Schedule) -> float | None:
    total = sum(op.macs for epoch in plan.epochs for op in epoch.ops)
    on_npu = sum(op.macs for epoch in plan.epochs if epoch.kind is Where.HW for op in epoch.ops)
    return on_npu / total if total else None


def _time_share(plan: Schedule, times: Mapping[int, float] | None) -> float | None:
    if not times or not sum(times.values()):
        return None
    return sum(times.get(epoch.id, 0.0) for epoch in plan.epochs if epoch.kind is Where.HW) / sum(times.values())
