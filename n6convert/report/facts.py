"""What was run: model, input, calibration, methods, target; the first table of the page."""

from __future__ import annotations

from collections.abc import Iterator

from n6convert.results import Report
from n6convert.results.sections import Calibration, Quantization

__all__ = ["method_facts", "run_facts"]


def run_facts(report: Report) -> list[tuple[str, str]]:
    """Rows of name and value that tell this run from others, as far as the report knows them."""
    return [(name, value) for name, value in _rows(report) if value]


def method_facts(report: Report) -> list[tuple[str, str]]:
    """Rows of name and value: how INT8 was made."""
    section = report.quantization
    rows = [
        ("ranges", _ranges(section)),
        ("accuracy methods", _methods(section)),
        ("tried without gain", _left(section)),
        ("left out", _not_promising(section)),
    ]
    return [(name, value) for name, value in rows if value]


def _rows(report: Report) -> Iterator[tuple[str, str]]:
    yield "input", ", ".join(_inputs(report))
    yield "model", report.model if report.model != report.name else ""
    yield "weights", report.weights.origin
    yield "calibration", _calibration(report.calibration)
    yield "made", f"{report.made}, n6convert {report.n6convert}" if report.made else f"by n6convert {report.n6convert}"


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
    return ", ".join(m.method for m in section.methods if m.kept)


def _left(section: Quantization) -> str:
    return ", ".join(m.method for m in section.methods if not m.kept)


def _not_promising(section: Quantization) -> str:
    return ", ".join(f"{m.method} (at most {m.most_db:+.2f} dB)" for m in section.methods_not_promising)
