"""Layers with four-bit weights, and the curve of what they save and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from n6convert.report.scatter import Point, scatter
from n6convert.report.words import kib
from n6convert.results.sections import FourBits, TradePoint

__all__ = ["CurveRow", "FourBitsView", "four_bits"]


@dataclass(frozen=True, slots=True)
class CurveRow:
    """A number of four-bit layers, and what they save and cost, in words."""

    layers: str
    weights: str
    milliseconds: str
    closeness: str
    lost: str


@dataclass(frozen=True, slots=True)
class FourBitsView:
    """The section of the page: words, the drawing, and the rows of its table."""

    summary: str
    svg: str
    rows: Sequence[CurveRow]


def four_bits(section: FourBits | None) -> FourBitsView | None:
    """What the page shows of ``quantization.four_bits``; None where all weights have eight bits."""
    if section is None or not section.of or not section.curve:
        return None
    curve, count = section.curve, len(section.layers)
    chosen = next((p for p in reversed(curve) if p.layers == count), None)  # refined ones come behind
    return FourBitsView(
        summary=f"{count} of {section.of} layers have weights of four bits, which saves "
        f"{kib(section.bytes_saved)} of flash. The more layers, the faster and the further from float. Layers are "
        "rounded each by itself, and in refined models so that they make up for each other:",
        svg=_drawn(curve, chosen),
        rows=[_row(point, chosen) for point in curve],
    )


def _drawn(curve: Sequence[TradePoint], chosen: TradePoint | None) -> str:
    points = [
        Point(p.milliseconds, p.closeness_db, str(p.layers), "hw" if p is chosen else "none")
        for p in curve
        if p.milliseconds is not None
    ]
    return scatter(
        points, points, "Closeness over predicted time by number of layers", "ms (predicted)", "closeness, dB"
    )


def _row(point: TradePoint, chosen: TradePoint | None) -> CurveRow:
    time = point.milliseconds
    return CurveRow(
        layers=f"{point.layers}{' (chosen)' if point is chosen else ''}",
        weights=kib(point.weight_bytes),
        milliseconds="" if time is None else f"{time:.2f}",
        closeness=f"{point.closeness_db:.1f} dB{', refined' if point.refined else ''}",
        lost="" if point.drop is None else f"{point.drop:.2f} points on {point.labels} samples",
    )
