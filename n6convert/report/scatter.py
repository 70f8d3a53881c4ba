"""Points over two axes with what is uncertain about them, and the front of those that none beats, as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from n6convert.escaping import html_text
from n6convert.report.svg import css_class, frame, round_step

__all__ = ["Point", "scatter"]

_WIDTH, _HEIGHT, _PAD = 960, 440, 60
#: so many points are all named; of more, those of the front
_ALL_NAMED = 8
Span = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """One point of a scatter plot; spans are intervals that are drawn as bars through it."""

    x: float
    y: float
    label: str
    kind: str = "hw"
    title: str = ""
    across: Span | None = None
    along: Span | None = None


def scatter(
    points: Sequence[Point], front: Sequence[Point], label: str, x_name: str, y_name: str, *, steps: bool = False
) -> str:
    """Points with their labels and a line through those of the front, in order of x.

    Args:
        points: all.
        front: those that the line goes through.
        label: what screen readers say.
        x_name: of the axis.
        y_name: of the axis.
        steps: the line keeps its height up to the next point: nothing is known of what lies between.
    """
    if not points:
        return ""
    x = _Scale([v for p in points for v in (p.x, *(p.across or ()))], _PAD, _WIDTH - _PAD / 2)
    y = _Scale([v for p in points for v in (p.y, *(p.along or ()))], _HEIGHT - _PAD, _PAD / 2)
    best = {(p.x, p.y) for p in front}
    parts = [*_axes(x, y, x_name, y_name), _line(front, x, y, steps)]
    for point in points:
        named = bool(point.label) and (len(points) <= _ALL_NAMED or (point.x, point.y) in best)
        parts += _drawn(point, x, y, named=named)
    return frame(_WIDTH, _HEIGHT, label, parts, kind="plot")


def _axes(x: _Scale, y: _Scale, x_name: str, y_name: str) -> Iterator[str]:
    floor = _HEIGHT - _PAD
    yield f'<line class="axis" x1="{_PAD}" x2="{_WIDTH - _PAD / 2}" y1="{floor}" y2="{floor}"/>'
    yield f'<line class="axis" x1="{_PAD}" x2="{_PAD}" y1="{_PAD / 2}" y2="{floor}"/>'
    yield f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{html_text(x_name)}</text>'
    turned = f'transform="translate(14 {_HEIGHT / 2}) rotate(-90)" text-anchor="middle"'
    yield f"<text {turned}>{html_text(y_name)}</text>"
    for value in x.ticks():
        across = f'x="{x.at(value):.1f}" y="{floor + 18}"'
        yield f'<text class="small" {across} text-anchor="middle">{value:.4g}</text>'
    for value in y.ticks():
        yield f'<text class="small" x="{_PAD - 6}" y="{y.at(value) + 4:.1f}" text-anchor="end">{value:.4g}</text>'


def _line(front: Sequence[Point], x: _Scale, y: _Scale, steps: bool) -> str:
    places: list[tuple[float, float]] = []
    for point in sorted(front, key=lambda p: p.x):
        place = (x.at(point.x), y.at(point.y))
        if steps and places:
            places.append((place[0], places[-1][1]))
        places.append(place)
    return f'<polyline class="front" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in places)}"/>'


def _drawn(point: Point, x: _Scale, y: _Scale, *, named: bool) -> Iterator[str]:
    across, up = x.at(point.x), y.at(point.y)
    if point.across:
        low, high = map(x.at, point.across)
        yield f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{up:.1f}" y2="{up:.1f}"/>'
    if point.along:
        low, high = map(y.at, point.along)
        yield f'<line class="spread" x1="{across:.1f}" x2="{across:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
    title = f"<title>{html_text(point.title or point.label)}</title>"
    yield f'<circle class="{css_class(point.kind)}" cx="{across:.1f}" cy="{up:.1f}" r="6">{title}</circle>'
    if named:
        left = across > _WIDTH * 0.6  # a label must not run out of the picture
        place = f'x="{across + (-9 if left else 9):.1f}" y="{up + 17:.1f}"'  # the front rises to the right
        anchor = ' text-anchor="end"' if left else ""
        yield f'<text class="small" {place}{anchor}>{html_text(point.label)}</text>'


class _Scale:
    """A linear map from values, with a margin, to pixels."""

    def __init__(self, values: Sequence[float], start: float, stop: float) -> None:
        low, high = min(values), max(values)
        margin = 0.08 * (high - low) or 0.08 * abs(high) or 1.0
        self.low, self.high, self.start, self.stop = low - margin, high + margin, start, stop

    def at(self, value: float) -> float:
        """Pixel of a value."""
        return self.start + (self.stop - self.start) * (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values, four at least."""
        step = round_step(self.high - self.low, 5)
        return [float(v) for v in np.arange(np.ceil(self.low / step) * step, self.high, step)]
