"""Layers with four-bit weights, and the curve of what they save and cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from n6convert.report.scatter import Point, scatter
from n6convert.report.words import kib
from n6convert.results.sections import FourBits, TradePoint

__all__ = ["four_bits"]


def four_bits(section: FourBits | None) -> dict[str, Any]:
    """What the page shows of ``quantization.four_bits``; empty where all weights have eight bits."""
    if section is None or not section.of or not section.curve:
        return {}
    curve, count = section.curve, len(section.layers)
    return {
        "summary": f"{count} of {section.of} layers have weights of four bits, which saves "
        f"{kib(section.bytes_saved)} of flash. The more layers, the faster and the further from float. Layers are "
        "rounded each by itself, and in refined models so that they make up for each other:",
        "svg": _drawn(curve, count),
        "rows": [_row(point, count) for point in curve],
    }


def _drawn(curve: Sequence[TradePoint], chosen: int) -> str:
    points = [
        Point(p.milliseconds, p.closeness_db, str(p.layers), "hw" if p.layers == chosen else "none")
        for p in curve
        if p.milliseconds is not None
    ]
    return scatter(
        points, points, "Closeness over predicted time by number of layers", "ms (predicted)", "closeness, dB"
    )


def _row(point: TradePoint, chosen: int) -> dict[str, str]:
    time = point.milliseconds
    return {
        "layers": f"{point.layers}{' (chosen)' if point.layers == chosen else ''}",
        "weights": kib(point.weight_bytes),
        "milliseconds": "" if time is None else f"{time:.2f}",
        "closeness": f"{point.closeness_db:.1f} dB{', refined' if point.refined else ''}",
    }
