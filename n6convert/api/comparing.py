"""``n6convert.compare``: the prediction for a model beside ST Edge AI's report of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from n6convert.npu import estimate
from n6convert.npu.compare import Comparison
from n6convert.npu.compare import compare as compare_schedules
from n6convert.npu.options import STOCK, CompilerOptions, options_of
from n6convert.npu.st import StReport, read_report
from n6convert.npu.targets import DEFAULT_TARGET, Target, load_target

__all__ = ["compare", "compare_report", "target_of"]


def compare(
    model: str | Path, *reports: str | Path, target: str | None = None, options: CompilerOptions | None = None
) -> Comparison:
    """Compare the prediction for a model with what ST Edge AI reported of it.

    Args:
        model: the quantized model that was compiled, ``.onnx`` or ``.tflite``.
        reports: its report, ``c_info.json``, ``network.csv`` or validate log, one or several of one compilation.
        target: ``board@version``; by default the kit with the report's version.
        options: of the compiler; what is given here wins over what the report says.

    Returns:
        totals, operators on the CPU, pools, and where the two schedules part.

    Raises:
        SourceError: a file is none of ST's, or two contradict each other.
        GraphError: the model cannot be read.
    """
    return compare_report(Path(model), read_report(*map(Path, reports)), target, options)


def compare_report(
    model: Path, report: StReport, target: str | None = None, options: CompilerOptions | None = None
) -> Comparison:
    """Predict a model for the core of its report and compare.

    Args:
        target: ``board@version``; by default the kit with the report's version.
        options: what is given here wins over what the report says.
    """
    given = options or STOCK
    board = target_of(report, target, layout=given.pools is None)
    found = estimate(model, board, options=options_of(report, given))
    return compare_schedules(found.schedule, found.placement.sw_ops, found.placement.hybrid_ops, found.costs, report)


def target_of(report: StReport, spec: str | None = None, *, layout: bool = True) -> Target:
    """The target a report was compiled for: version and board, with the memory pools that it prints (``layout``).

    Args:
        report: facts of a compilation.
        spec: ``board@version``; None: the kit with the report's version.
        layout: take the addresses and sizes of the pools from the report.
    """
    version = f"{report.version[0]}.{report.version[1]}" if report.version else ""
    board = "nucleo-n657x0-q-aistudio" if _slow_clocks(report) else DEFAULT_TARGET.split("@")[0]
    target = load_target(spec or (f"{board}@{version}" if version else DEFAULT_TARGET))
    return _with_layout(target, report.layout) if layout else target


def _with_layout(target: Target, layout: Mapping[str, tuple[int, int]]) -> Target:
    """The stock pools with the addresses and sizes that the report prints."""
    known = [replace(p, start=layout[p.name][0], size=layout[p.name][1]) for p in target.pools if p.name in layout]
    usable = tuple(pool for pool in known if pool.size)
    return replace(target, pools=usable) if any(p.writable for p in usable) else target


def _slow_clocks(report: StReport) -> bool:
    """600/800 MHz: the template of the Nucleo ([#clocks])."""
    return report.board is not None and report.board.clocks.get("npu") == 800
