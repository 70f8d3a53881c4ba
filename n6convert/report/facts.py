"""What was run: model, input, calibration, methods, target; the first table of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["run_facts"]

Facts = Mapping[str, Any]


def run_facts(report: Facts) -> list[tuple[str, str]]:
    """Rows of name and value, as far as the report knows them."""
    return [(name, value) for name, value in _rows(report) if value]


def _rows(report: Facts) -> Iterator[tuple[str, str]]:
    yield "model", str(report.get("model", ""))
    yield "input", ", ".join(_inputs(report))
    yield "weights", str((report.get("weights") or {}).get("origin", ""))
    yield "target", str(report.get("target", ""))
    yield "calibration", _calibration(report.get("calibration") or {})
    yield "ranges", _ranges(report.get("quantization") or {})
    yield "accuracy methods", _methods(report.get("quantization") or {})
    yield "made", " ".join(str(word) for word in (report.get("created"), f"by n6convert {report['n6convert']}") if word)


def _inputs(report: Facts) -> Iterator[str]:
    export: Facts = next((s for s in report.get("stages", []) if s.get("name") == "export"), {})
    for tensor in (export.get("facts") or {}).get("inputs", []):
        yield f"{tensor['name']} {'x'.join(map(str, tensor['shape']))}"


def _calibration(section: Facts) -> str:
    seen, held = (len(section.get(part) or []) for part in ("calibration", "held_back"))
    if not seen:
        return ""
    return f"{seen} samples of {section.get('source')}, {held} more held back to judge methods"


def _ranges(section: Facts) -> str:
    chosen = section.get("ranges") or {}
    return ", ".join(f"{count} by {name}" for name, count in chosen.items()) if isinstance(chosen, Mapping) else ""


def _methods(section: Facts) -> str:
    tried = section.get("methods") or []
    kept = [m["method"] for m in tried if m.get("kept")]
    dropped = [m["method"] for m in tried if not m.get("kept")]
    if not kept:
        return ""
    return ", ".join(kept) + (f"; tried without gain: {', '.join(dropped)}" if dropped else "")
