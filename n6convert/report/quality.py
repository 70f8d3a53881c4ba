"""Accuracy on the page: the task's metric, closeness of the outputs with what is good, and where error arises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from n6convert.report.svg import histogram
from n6convert.report.words import decibels, short
from n6convert.results import Report
from n6convert.results.sections import Quantization, WorstTensor

__all__ = ["AccuracyView", "ErrorSource", "accuracy_section", "error_sources"]

_WORST = 10
_WHAT_IS_GOOD = (
    "Closeness is what methods are chosen by: a signal to noise ratio judged behind what reads the outputs, with "
    "errors bounded, so that a few wild values do not rule it. Eight bits reach about 40 dB at best; below 20 dB only "
    "labeled samples tell what it means for the task. SQNR may be far lower where large errors do not matter."
)
#: what is left to try against a cause when the methods meant for it were tried
_LEFT = {
    "outlier channel": (("outlier channels",), "split the channel off in the model"),
    "weights": (("second-order rounding", "bias correction"), "train it with n6convert tune"),
    "saturation": (("ranges: minmax",), "set a wider range in ranges.json"),
}


@dataclass(frozen=True, slots=True)
class AccuracyView:
    """The section of the page: the table of what, float, INT8 and drop, and a remark."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str


@dataclass(frozen=True, slots=True)
class ErrorSource:
    """A tensor where error arises: a drawing of its values, its name with its copies, cause and remedy in words."""

    svg: str
    name: str
    full: str
    text: str


def accuracy_section(report: Report) -> AccuracyView | None:
    """Rows of what, float, INT8 and drop; None where nothing was measured."""
    rows = [[f"SQNR of {name}", "", decibels(value), ""] for name, value in report.sqnr_db.items()]
    notes = ["SQNR: INT8 against float on samples that calibration did not see."] if rows else []
    closeness = _closeness(report)
    if closeness is not None:
        rows.insert(0, ["closeness of all outputs", "", f"{closeness:.1f} dB", ""])
        notes.append(_WHAT_IS_GOOD)
    found = report.accuracy
    if found:
        interval = found.interval
        spread = f" ({interval[0]:.2f} to {interval[1]:.2f})" if interval else ""
        drop = f"{found.drop:.2f} points{spread}"
        rows.insert(0, [found.metric, f"{found.float_value:.2f}", f"{found.int8:.2f}", drop])
        labeled = f"{found.metric} on {found.samples} labeled samples that calibration did not see"
        notes.insert(0, f"{labeled}; in brackets a 95 % bootstrap interval.")
    return AccuracyView(["what", "float", "INT8", "drop"], rows, " ".join(notes)) if rows else None


def _closeness(report: Report) -> float | None:
    """Of the model that was written: behind tuning, or behind the last method that was kept."""
    if report.tuning.kept and report.tuning.after is not None:
        return report.tuning.after.closeness_db
    kept = [m.closeness_db for m in report.quantization.methods if m.kept and m.closeness_db is not None]
    return kept[-1] if kept else None


def error_sources(section: Quantization) -> list[ErrorSource]:
    """Where error arises: what only passes it on is left out, copies of a tensor are named with it."""
    sources = [tensor for tensor in section.worst[:_WORST] if tensor.cause != "inherited"]
    tried = {m.method for m in section.methods} | {m.method for m in section.methods_not_promising}
    groups = groupby(sources, key=lambda t: (t.sqnr_db, t.scale, t.zero_point, t.cause))
    return [_source(list(group), tried) for _, group in groups]


def _source(tensors: Sequence[WorstTensor], tried: set[str]) -> ErrorSource:
    shown = next((t for t in tensors if t.histogram), tensors[0])
    more = len(tensors) - 1
    copies = f" and {more} {'copies' if more > 1 else 'copy'} of it" if more else ""
    reasons = ": ".join(_reasons(shown, tried)).replace("`", "")
    svg = ""
    if shown.histogram:
        grid = ((-128 - shown.zero_point) * shown.scale, (127 - shown.zero_point) * shown.scale)
        shape = shown.histogram
        svg = histogram(shape.counts, shape.low, shape.high, grid, f"Values of {shown.name}")
    return ErrorSource(
        svg=svg,
        name=f"{short(shown.name)}{copies}",
        full=shown.name,
        text=f"{shown.sqnr_db:.1f} dB. {reasons[:1].upper()}{reasons[1:]}",
    )


def _reasons(tensor: WorstTensor, tried: set[str]) -> Iterator[str]:
    """The cause and what is left against it: no remedy that is on already."""
    if tensor.cause:
        yield tensor.cause
    methods, left = _LEFT.get(tensor.cause or "", ((), ""))
    if left and tried.issuperset(methods):
        yield f"{' and '.join(methods)} tried or ruled out already; left: {left}"
    elif tensor.remedy:
        yield tensor.remedy
