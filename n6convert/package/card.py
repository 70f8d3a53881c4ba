"""The model card: ``README.md`` of a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from n6convert.package.ports import Port

__all__ = ["card_text"]


def card_text(
    report: Mapping[str, Any], inputs: Sequence[Port], outputs: Sequence[Port], files: Mapping[str, str]
) -> str:
    """Markdown: what the model is, how good, how fast, how to feed it, whose weights and data it carries.

    Args:
        report: the run's facts (``report.json``).
        files: what lies in the package, a sentence each.
    """
    weights = report["weights"]
    untrained = (
        ""
        if weights.get("trained")
        else "\n> Untrained: the weights are random. Placement, memory and time hold; answers do not.\n"
    )
    sections = [
        f"# {report['model']} for {_target(report)}\n{untrained}",
        "## Facts\n\n" + _table([("", "")] + _facts(report)),
        "## Interface\n\n" + _interface(inputs, outputs),
        "## Files\n\n" + "\n".join(f"* `{name}`: {what}" for name, what in files.items()),
        "## Compile\n\n`./generate.sh` (Linux, macOS) or `generate.bat` (Windows) with ST Edge AI Core installed, or "
        "`n6convert compile .`, which also compares the compiler's report with the prediction.",
        "## Licences\n\n" + _licences(report),
    ]
    return "\n\n".join(sections) + "\n"


def _target(report: Mapping[str, Any]) -> str:
    target = report["target"]
    return str(target.get("name", target) if isinstance(target, Mapping) else target)


def _facts(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("weights", f"{report['weights'].get('origin', 'unknown')}")]
    placement = (report.get("placement") or {}).get("after")
    if placement:
        e = placement["epochs"]
        rows.append(("epochs (predicted)", f"{e['total']}: {e['hw']} hw, {e['hybrid']} hybrid, {e['sw']} sw"))
    latency = report.get("latency")
    if latency:
        rows.append(
            ("time (predicted)", f"{latency['milliseconds']:.2f} ms ({latency['low']:.2f} to {latency['high']:.2f})")
        )
    accuracy = report.get("accuracy")
    if accuracy and accuracy.get("metric"):
        rows.append(
            (
                f"{accuracy['metric']} (measured on {accuracy['samples']} samples)",
                f"float {accuracy['float']:.2f}, INT8 {accuracy['int8']:.2f}, drop {accuracy['drop']:.2f}",
            )
        )
    return rows


def _interface(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    head = [("tensor", "buffer (int8)", "real value")]
    rows = [
        (f"{kind} `{p.name}`", "x".join(map(str, p.board_shape)), f"{p.scale:.9g} * (q - {p.zero_point})")
        for kind, ports in (("in", inputs), ("out", outputs))
        for p in ports
    ]
    return _table(head + rows)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _licences(report: Mapping[str, Any]) -> str:
    licence = report["weights"].get("license") or "not stated by their source: find out before you distribute them"
    calibration = report.get("calibration", {}).get("source", "unknown samples")
    return f"* weights: {licence}\n* calibrated on: {calibration}\n* generated C: free to use under Apache-2.0"
