"""The end of a conversion on the terminal: where the time goes, in one line of color, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

__all__ = ["next_command", "page_link", "time_bar"]

#: what an epoch waits for -> color and word
_PARTS = {
    "compute": ("green", "compute"),
    "memory": ("cyan", "on-chip memory"),
    "flash": ("blue", "weights from flash"),
    "external": ("red", "external RAM"),
    "hybrid": ("yellow", "CPU and NPU"),
    "software": ("red", "CPU"),
    "overhead": ("bright_black", "epoch starts"),
}
_WIDTH = 40


def time_bar(report: Mapping[str, Any], width: int = _WIDTH) -> Text | None:
    """The predicted time by what it waits for: a bar of ``width`` cells and a legend; None where it is not known."""
    parts = {k: v for k, v in ((report.get("latency") or {}).get("parts") or {}).items() if v > 0}
    total = sum(parts.values())
    if not total:
        return None
    ranked = sorted(parts.items(), key=lambda item: -item[1])
    bar, legend, drawn, passed = Text(), Text(), 0, 0.0
    for name, value in ranked:
        color, word = _PARTS.get(name, ("white", name))
        passed += value
        end = round(width * passed / total)
        bar.append("█" * (end - drawn), color)
        drawn = end
        legend.append("  ").append("■", color).append(f" {word} {value:.1f} ms")
    return bar + legend


def page_link(page: Path) -> Text:
    """A path that terminals make clickable."""
    return Text(str(page), f"link {page.resolve().as_uri()}")


def next_command(report: Mapping[str, Any], folder: Path) -> str:
    """The command that a reader most likely wants next: real weights, real samples, labels, or ST's compiler."""
    weights, recipe = report["weights"], report["recipe"]
    model = report["model"]
    own = f"n6convert {shlex.quote(recipe['weights'])}" if model == "onnx" else f"n6convert {model}"
    if not weights["trained"]:
        return f"{own} --weights FILE --calibration SAMPLES --evaluate LABELS"
    given = "" if model == "onnx" else f" --weights {shlex.quote(recipe['weights'])}"
    if (report.get("calibration") or {}).get("synthetic"):
        return f"{own}{given} --calibration SAMPLES --evaluate LABELS"
    if not recipe["evaluation"]["source"]:
        source = shlex.quote(str(recipe["calibration"]["source"]))
        return f"{own}{given} --calibration {source} --evaluate LABELS"
    return f"n6convert compile {shlex.quote(str(folder))}"
