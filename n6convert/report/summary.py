"""A run in a few lines: what the terminal prints and a notebook shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["summary_rows", "summary_text"]

Facts = Mapping[str, Any]


def summary_rows(report: Facts) -> list[tuple[str, str]]:
    """Label and value of each line, from ``report.json`` or an estimate's page."""
    return [*_names(report), *_accuracy(report), *_prediction(report), *_lint(report)]


def summary_text(report: Facts) -> str:
    """The same as text in two columns, warnings behind it."""
    rows = summary_rows(report) + [("warning", text) for text in report.get("warnings", [])]
    width = max((len(label) for label, _ in rows), default=0)
    return "\n".join(f"{label:<{width}}  {value}" for label, value in rows)


def _names(report: Facts) -> Iterator[tuple[str, str]]:
    yield "model", f"{report['name']} for {report['target']}"
    yield "weights", str(report["weights"]["origin"])
    if trust := report["weights"].get("trust"):
        yield "trusted by", str(trust)


def _accuracy(report: Facts) -> Iterator[tuple[str, str]]:
    if a := report.get("accuracy"):
        spread = f" (95 %: {a['interval'][0]:+.2f} to {a['interval'][1]:+.2f})" if a.get("interval") else ""
        values = f"float {a['float']:.1f}, INT8 {a['int8']:.1f}"
        yield a["metric"], f"{values}, lost {a['drop']:.2f} points{spread} on {a['samples']} samples"
    if (t := report.get("tuning")) and t["kept"]:
        was = report.get("accuracy") or {}
        task = f", {was['metric']} {was['untuned']:.1f} -> {was['int8']:.1f}" if was.get("untuned") is not None else ""
        closeness = f"{t['before']['closeness_db']:.1f} -> {t['after']['closeness_db']:.1f} dB closeness"
        yield "tuned", f"{closeness}{task}, {t['steps']} steps in {t['seconds'] / 60:.1f} min"
    if levels := report.get("sqnr_db"):
        parts = (f"{name} {'exact' if db is None else f'{db:.1f} dB'}" for name, db in levels.items())
        yield "INT8 against float", ", ".join(parts)


def _prediction(report: Facts) -> Iterator[tuple[str, str]]:
    placement = report.get("placement") or {}
    if after := placement.get("after"):
        epochs, before = after.get("epochs", {}), placement.get("before") or {}
        was = f" (without rewrites {100 * before['offload']:.1f} %)" if "offload" in before else ""
        where = f"{epochs.get('hw')} hw, {epochs.get('hybrid')} hybrid, {epochs.get('sw')} sw"
        yield "epochs", f"{epochs.get('total')}: {where}; {100 * after['offload']:.1f} % on the NPU{was}"
    if latency := report.get("latency"):
        spread = f" ({latency['low']:.2f} to {latency['high']:.2f})" if "low" in latency else ""
        yield "predicted time", f"{latency['milliseconds']:.2f} ms{spread}"
    if memory := report.get("memory"):
        shown = [k for k in ("weights", "tables", "activations") if memory.get(k)]
        sizes = ", ".join(f"{k} {memory[k] / 1024:.0f} KiB" for k in shown)
        yield "memory", f"{sizes}, {_fits(memory)}"


def _fits(memory: Facts) -> str:
    if external := memory.get("external"):
        return f"{external / 1024:.0f} KiB of activations in external RAM"
    return "activations on chip" if memory.get("fits") else "does not fit"


def _lint(report: Facts) -> Iterator[tuple[str, str]]:
    if findings := report.get("lint"):
        kinds = [str(finding.get("severity")) for finding in findings]
        yield "lint", ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
