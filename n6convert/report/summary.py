"""A run in a few lines: what the terminal prints and a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator

from n6convert.results import Report
from n6convert.results.sections import Memory

__all__ = ["summary_rows", "summary_text"]


def summary_rows(report: Report) -> list[tuple[str, str]]:
    """Label and value of each line, from ``report.json`` or an estimate's page."""
    return [*_names(report), *_accuracy(report), *_prediction(report), *_lint(report)]


def summary_text(report: Report) -> str:
    """The same as text in two columns, warnings behind it."""
    rows = summary_rows(report) + [("warning", text) for text in report.warnings]
    width = max((len(label) for label, _ in rows), default=0)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


def _names(report: Report) -> Iterator[tuple[str, str]]:
    yield "model", f"{report.name} for {report.target}"
    yield "weights", report.weights.origin
    if report.weights.trust:
        yield "trusted by", report.weights.trust


def _accuracy(report: Report) -> Iterator[tuple[str, str]]:
    if a := report.accuracy:
        spread = f" (95 %: {a.interval[0]:+.2f} to {a.interval[1]:+.2f})" if a.interval else ""
        values = f"float {a.float_value:.1f}, INT8 {a.int8:.1f}"
        yield a.metric, f"{values}, lost {a.drop:.2f} points{spread} on {a.samples} samples"
    t, a = report.tuning, report.accuracy
    if t.kept and t.before is not None and t.after is not None:
        task = f", {a.metric} {a.untuned:.1f} -> {a.int8:.1f}" if a is not None and a.untuned is not None else ""
        closeness = f"{t.before.closeness_db:.1f} -> {t.after.closeness_db:.1f} dB closeness"
        yield "tuned", f"{closeness}{task}, {t.steps} steps in {t.seconds / 60:.1f} min"
    if report.sqnr_db:
        parts = (f"{name} {'exact' if db is None else f'{db:.1f} dB'}" for name, db in report.sqnr_db.items())
        yield "INT8 against float", ", ".join(parts)


def _prediction(report: Report) -> Iterator[tuple[str, str]]:
    if report.placement is not None:
        epochs, before = report.placement.after.epochs, report.placement.before
        was = f" (without rewrites {100 * before.offload:.1f} %)" if before is not None else ""
        where = f"{epochs.hw} hw, {epochs.hybrid} hybrid, {epochs.sw} sw"
        yield "epochs", f"{epochs.total}: {where}; {100 * report.placement.after.offload:.1f} % on the NPU{was}"
    if latency := report.latency:
        spread = f" ({latency.low:.2f} to {latency.high:.2f})" if "low" in latency else ""
        yield "predicted time", f"{latency.milliseconds:.2f} ms{spread}"
    if memory := report.memory:
        parts = (("weights", memory.weights), ("tables", memory.tables), ("activations", memory.activations))
        sizes = ", ".join(f"{name} {size / 1024:.0f} KiB" for name, size in parts if size)
        yield "memory", f"{sizes}, {_fits(memory)}"


def _fits(memory: Memory) -> str:
    if memory.external:
        return f"{memory.external / 1024:.0f} KiB of activations in external RAM"
    return "activations on chip" if memory.fits else "does not fit"


def _lint(report: Report) -> Iterator[tuple[str, str]]:
    if report.lint:
        kinds = [finding.severity for finding in report.lint]
        yield "lint", ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
