"""Layers with four-bit weights, and the curve of what they save and cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from n6convert.report.svg import Point, scatter
from n6convert.report.words import kib

__all__ = ["four_bits"]

Facts = Mapping[str, Any]


def four_bits(section: Facts) -> dict[str, Any]:
    """What the page shows of ``quantization.four_bits``; empty where all weights have eight bits."""
    curve: Sequence[Facts] = section.get("curve") or []
    if not section.get("of") or not curve:
        return {}
    count = len(section.get("layers") or [])
    return {
        "summary": f"{count} of {section['of']} layers have weights of four bits, which saves "
        f"{kib(section['bytes_saved'])} of flash. The more layers, the faster and the further from float; before the "
        "last rounding:",
        "svg": _drawn(curve, count),
        "rows": [_row(point, count) for point in curve],
    }


def _drawn(curve: Sequence[Facts], chosen: int) -> str:
    timed = [p for p in curve if p.get("milliseconds") is not None]
    points = [
        Point(p["milliseconds"], p["closeness_db"], str(p["layers"]), "hw" if p["layers"] == chosen else "none")
        for p in timed
    ]
    return scatter(
        points, points, "Closeness over predicted time by number of layers", "ms (predicted)", "closeness, dB"
    )


def _row(point: Facts, chosen: int) -> dict[str, str]:
    time = point.get("milliseconds")
    return {
        "layers": f"{point['layers']}{' (chosen)' if point['layers'] == chosen else ''}",
        "weights": kib(point["weight_bytes"]),
        "milliseconds": "" if time is None else f"{time:.2f}",
        "closeness": f"{point['closeness_db']:.1f} dB",
    }
