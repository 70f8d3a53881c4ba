"""What was run: model, input, calibration, methods, target; the first table of the page."""

from __future__ import annotations

from collections.abc import Iterator

from n6convert.results import Report
from n6convert.results.sections import Calibration, Quantization

__all__ = ["run_facts"]


def run_facts(report: Report) -> list[tuple[str, str]]:
    """Rows of name and value, as far as the report knows them."""
    return [(name, value) for name, value in _rows(report) if value]


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    yield "model", report.model
    yield "input", ", ".join(_inputs(report))
    yield "weights", report.weights.origin
    yield "target", report.target
    yield "calibration", _calibration(report.calibration)
    yield "ranges", _ranges(report.quantization)
    yield "accuracy methods", _methods(report.quantization)
    yield "made", f"by n6convert {report.n6convert}"


def _inputs(report: Report) -> Iterator[str]:
    for tensor in report.exported.inputs:
        yield f"{tensor.name} {'x'.join(map(str, tensor.shape))}"


def _calibration(section: Calibration) -> str:
    seen, held = len(section.calibration), len(section.held_back)
    if not seen:
        return ""
    return f"{seen} samples of {section.source}, {held} more held back to judge methods"


def _ranges(section: Quantization) -> str:
    return ", ".join(f"{count} by {name}" for name, count in section.ranges.items())


def _methods(section: Quantization) -> str:
    kept = [m.method for m in section.methods if m.kept]
    dropped = [m.method for m in section.methods if not m.kept]
    if not kept:
        return ""
    return ", ".join(kept) + (f"; tried without gain: {', '.join(dropped)}" if dropped else "")
