"""``sweep.html``: the Pareto front of accuracy, predicted time and memory, and every number behind it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from n6convert.report.notebook import framed
from n6convert.report.render import render_page, render_text
from n6convert.report.scatter import Point, scatter
from n6convert.report.svg import Row, bars
from n6convert.sweeps.results import PointResult, SweepResults, pareto

__all__ = ["cell", "write_page"]


def write_page(path: Path, model: str, results: Sequence[PointResult]) -> None:
    """Draw the results of a sweep into one self-contained file.

    Args:
        path: of the HTML file.
        model: its name, for the title.
        results: of all points.
    """
    render_page(path, "sweep.html.j2", **_values(model, results, path.parent))


def cell(results: SweepResults) -> str:
    """The same in a frame, as a notebook's cell shows it."""
    text = render_text("sweep.html.j2", **_values(results.name, results, None))
    return framed(text, results.name, 60)


def _values(model: str, results: Sequence[PointResult], folder: Path | None) -> dict[str, Any]:
    """What the template shows; links to points' pages only from a folder."""
    done = [r for r in results if r.error is None]
    front = pareto(done)
    quality = next((r.metric for r in done if r.metric), None) or "least output SQNR (dB)"
    points = [_point(r, r in front) for r in done if r.quality is not None and r.milliseconds is not None]
    memory = [Row(r.label, float(r.activations), _bytes(r.activations), "bar") for r in done if r.activations]
    time = [Row(r.label, r.milliseconds, _time(r), "hw") for r in done if r.milliseconds is not None]
    return {
        "title": f"{model}: {len(results)} point{'s' * (len(results) != 1)}",
        "front": ", ".join(r.label for r in front),
        "scatter": scatter(
            points,
            [_point(r, True) for r in front],
            f"{quality} over predicted time",
            "predicted ms",
            quality,
            steps=True,
        ),
        "time": bars(time, "predicted time by point"),
        "memory": bars(memory, "predicted activation memory by point"),
        "rows": [_row(r, r in front, folder) for r in results],
        "quality": quality,
        "counts": _counts(done),
        "table": "" if folder is None else "sweep.csv",
        "failed": [r for r in results if r.error is not None],
    }


def _point(result: PointResult, best: bool) -> Point:
    quality, time = result.quality or 0.0, result.milliseconds or 0.0
    lost = f", loses {result.spread} points" if result.spread else ""
    title = f"{result.label}: {quality:.2f}{lost}, {time:.2f} ms"
    across = (result.low, result.high) if result.low and result.high else None
    return Point(time, quality, result.label, "hw" if best else "none", title, across, _scores(result))


def _scores(result: PointResult) -> tuple[float, float] | None:
    """The 95 % interval of the loss, below the score of float."""
    if result.interval is None or result.score is None or result.drop is None:
        return None
    sign = 1.0 if (result.float_score or 0.0) - result.score == result.drop else -1.0
    ends = [result.score + sign * (result.drop - end) for end in result.interval]
    return min(ends), max(ends)


def _time(result: PointResult) -> str:
    return (
        f"{result.milliseconds:.2f} ms ({result.low:.2f} to {result.high:.2f})"
        if result.low
        else f"{result.milliseconds:.2f} ms"
    )


def _counts(results: Sequence[PointResult]) -> str:
    """On how many labeled samples the accuracy rests; empty without labels."""
    counts = sorted({r.samples for r in results if r.samples})
    if not counts:
        return ""
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _bytes(value: int | None) -> str:
    return "unknown" if value is None else f"{value / 1024:,.0f} KiB"


def _row(result: PointResult, best: bool, folder: Path | None) -> dict[str, str]:
    return {
        "label": result.label,
        "link": "" if folder is None else _report(result, folder),
        "front": "yes" if best else "",
        "quality": _number(result.quality),
        "float_score": _number(result.float_score),
        "spread": result.spread,
        "drop": _number(result.drop),
        "samples": "" if result.samples is None else str(result.samples),
        "milliseconds": _number(result.milliseconds),
        "offload": "" if result.offload is None else f"{100 * result.offload:.1f} %",
        "activations": _bytes(result.activations),
        "weights": _bytes(result.weights),
        "error": result.error or "",
    }


def _report(result: PointResult, folder: Path) -> str:
    """The point's own page, relative to the sweep's, so that both can be moved together."""
    page = Path(result.folder) / "report.html" if result.folder else None
    return quote(os.path.relpath(page, folder)) if page and page.is_file() else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
