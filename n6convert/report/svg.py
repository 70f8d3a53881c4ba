"""Small pictures as inline SVG: they scale, print, follow the page's colors and need no script.

Colors come from CSS classes (``hw``, ``hybrid``, ``sw`` ...), so that light and dark pages and printing work.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from n6convert.escaping import html_text

__all__ = [
    "Band",
    "Block",
    "Row",
    "area",
    "bars",
    "css_class",
    "frame",
    "histogram",
    "occupancy",
    "ribbon",
    "round_step",
    "scale",
]

_WIDTH = 960
_LAST = 97.0


@dataclass(frozen=True)
class Block:
    """One piece of a ribbon: relative width, CSS class, and what a reader sees on hovering."""

    width: float
    kind: str
    title: str
    epoch: int | None = None
    """Of the table row that it leads to."""


@dataclass(frozen=True)
class Row:
    """One horizontal bar: label, value, what to print behind it, CSS class, and where a limit mark stands."""

    label: str
    value: float
    text: str
    kind: str = "hw"
    limit: float | None = None


@dataclass(frozen=True)
class Band:
    """One memory in an occupancy picture: its size, what to print behind it, and blocks (of bytes) in every turn."""

    label: str
    size: int
    text: str
    turns: Sequence[Sequence[Block]]


def ribbon(blocks: Sequence[Block], label: str, *, whole: float | None = None, height: int = 44) -> str:
    """Blocks side by side, in order; ``whole`` is the width that the picture stands for, default that of the blocks.

    Args:
        blocks: in order.
        label: what screen readers say.
        whole: width that the picture stands for; None: that of the blocks.
        height: in pixels.
    """
    total = whole or sum(b.width for b in blocks) or 1.0
    parts, x = [], 0.0
    for block in blocks:
        width = _WIDTH * block.width / total
        parts.append(
            f'<rect class="{css_class(block.kind)}" x="{x:.2f}" y="0" width="{max(width, 0.6):.2f}" height="{height}"'
            f"{_leads(block)}><title>{html_text(block.title)}</title></rect>"
        )
        x += width
    return frame(_WIDTH, height, label, parts, kind="stretch")


def _leads(block: Block) -> str:
    return "" if block.epoch is None else f' data-epoch="{block.epoch}"'


def scale(whole: float, unit: str, label: str) -> str:
    """An axis from 0 to ``whole`` with round steps, as text that keeps its size however wide the page is.

    Args:
        whole: the end of the axis.
        unit: of the numbers.
        label: what screen readers say.
    """
    step = round_step(whole)
    marks = [step * n for n in range(int(whole / step) + 1)]
    spans = "".join(_mark(mark, 100 * mark / whole, unit) for mark in marks)
    return f'<div class="scale" role="img" aria-label="{html_text(label)}">{spans}</div>'


def _mark(value: float, percent: float, unit: str) -> str:
    side = "; transform: translateX(-100%)" if percent > _LAST else ""  # it must not stick out of the page
    return f'<span style="left: {percent:.2f}%{side}">{value:g}{f" {html_text(unit)}" if not value else ""}</span>'


def round_step(whole: float, parts: int = 4) -> float:
    """The largest of 1, 2, 5 times a power of ten that divides a range in so many parts at least."""
    power = 10 ** np.floor(np.log10(whole / parts))
    return float(max(f * power for f in (1, 2, 5) if f * power <= whole / parts))


def bars(rows: Sequence[Row], label: str) -> str:
    """Horizontal bars between their names and their values; names and values are text that wraps on a phone."""
    top = max((max(r.value, r.limit or 0) for r in rows), default=0) or 1.0
    return _rows([(r.label, _bar(r, 100 / top), r.text) for r in rows], label)


def _bar(row: Row, scale: float) -> str:
    parts = [f'<rect class="{css_class(row.kind)}" x="0" y="2" width="{_visible(scale * row.value):.2f}" height="18"/>']
    if row.limit:
        x = scale * row.limit
        parts.append(f'<line class="limit" x1="{x:.2f}" x2="{x:.2f}" y1="0" y2="22"/>')
    return _stretched(22, parts)


def css_class(kind: str) -> str:
    """A CSS class as it may stand in an attribute."""
    return kind if re.fullmatch(r"[a-z0-9 -]*", kind) else "none"


def _visible(width: float) -> float:
    """Something is never drawn as nothing."""
    return max(width, 0.3) if width else 0.0


def occupancy(bands: Sequence[Band], widths: Sequence[float], label: str) -> str:
    """Memories one below the other, as high as they are large; over the width what each holds in every turn.

    Args:
        bands: memories, with what they hold in every turn.
        widths: of the turns.
        label: what screen readers say.
    """
    scale = 300 / (sum(band.size for band in bands) or 1)
    edges = 100 * np.cumsum([0.0, *widths]) / (sum(widths) or 1.0)
    rows = []
    for band in bands:
        height = round(max(22.0, scale * band.size))
        parts = [f'<rect class="room" x="0" y="0" width="100" height="{height}"/>']
        for start, stop, blocks in zip(edges, edges[1:], band.turns, strict=False):
            parts += _pile(blocks, start, stop - start, height, height / (band.size or 1))
        rows.append((band.label, _stretched(height, parts), band.text))
    return _rows(rows, label)


def _pile(blocks: Sequence[Block], x: float, width: float, floor: float, scale: float) -> list[str]:
    parts = []
    for block in blocks:
        tall = scale * block.width
        floor -= tall
        parts.append(
            f'<rect class="{css_class(block.kind)}" x="{x:.2f}" y="{floor:.2f}" width="{width:.2f}" '
            f'height="{tall:.2f}"><title>{html_text(block.title)}</title></rect>'
        )
    return parts


def _rows(rows: Sequence[tuple[str, str, str]], label: str) -> str:
    """Name, picture and value in three columns, as a list that is read out row by row."""
    cells = "".join(
        f'<div role="listitem"><span>{html_text(name)}</span>{svg}<span>{html_text(text)}</span></div>'
        for name, svg, text in rows
    )
    return f'<div class="bars" role="list" aria-label="{html_text(label)}">{cells}</div>'


def _stretched(height: int, parts: Sequence[str]) -> str:
    """A picture 100 wide that takes the width there is; what it says stands in text beside it."""
    head = f'<svg aria-hidden="true" viewBox="0 0 100 {height}" style="height: {height}px" preserveAspectRatio="none">'
    return head + "".join(parts) + "</svg>"


def area(series: Sequence[tuple[str, str, Sequence[float]]], label: str, unit: str) -> str:
    """Stacked steps over a common index; ``series`` are (name, CSS class, values).

    Args:
        series: name, CSS class and values of each.
        label: what screen readers say.
        unit: of the values.
    """
    height, left, bottom = 220, 70, 24
    count = max((len(values) for _, _, values in series), default=0)
    if count == 0:
        return ""
    stacked = np.cumsum(np.array([list(v) for _, _, v in series], float), axis=0)
    top = float(stacked.max()) or 1.0
    xs = np.linspace(left, _WIDTH - 8, count + 1)
    parts, floor = [], np.zeros(count)
    for (name, kind, _), level in zip(series, stacked, strict=True):
        path = _steps(xs, level, floor, top, height - bottom)
        parts.append(f'<path class="{css_class(kind)}" d="{path}"><title>{html_text(name)}</title></path>')
        floor = level
    parts += _axis(top, unit, left, height - bottom, count)
    return frame(_WIDTH, height, label, parts, kind="plot")


def histogram(counts: Sequence[float], low: float, high: float, grid: tuple[float, float], label: str) -> str:
    """Bars of a histogram over [low, high] with the int8 grid's range marked; counts on a logarithmic scale.

    Args:
        counts: one a bar.
        low: where the bars begin.
        high: where they end.
        grid: range of the int8 grid.
        label: what screen readers say.
    """
    width, height = 300, 90
    tall = np.log1p(np.asarray(counts, float))
    tall = tall / (tall.max() or 1.0)
    step = width / max(len(tall), 1)
    base = height - 14
    parts = [
        f'<rect class="bar" x="{i * step:.2f}" y="{base - 70 * v:.1f}" width="{step:.2f}" height="{70 * v:.1f}"/>'
        for i, v in enumerate(tall)
    ]
    for edge in grid:
        x = width * (edge - low) / ((high - low) or 1.0)
        if 0 <= x <= width:
            parts.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{height - 14}"/>')
    parts += [
        f'<text class="small" x="0" y="{height - 2}">{low:.3g}</text>',
        f'<text class="small" x="{width}" y="{height - 2}" text-anchor="end">{high:.3g}</text>',
    ]
    return frame(width, height, label, parts)


def _steps(xs: np.ndarray, level: np.ndarray, floor: np.ndarray, top: float, height: int) -> str:
    up = [(x, v) for i, v in enumerate(level) for x in (xs[i], xs[i + 1])]
    down = [(x, v) for i, v in enumerate(floor) for x in (xs[i], xs[i + 1])][::-1]
    points = [f"{x:.1f} {height - (height - 8) * v / top:.1f}" for x, v in up + down]
    return "M" + " L".join(points) + "Z"


def _axis(top: float, unit: str, left: int, height: int, count: int) -> list[str]:
    marks = [
        f'<text class="small" x="{left - 6}" y="{height - (height - 8) * f + 4:.1f}" text-anchor="end">'
        f"{top * f:,.0f} {html_text(unit)}</text>"
        for f in (0, 0.5, 1)
    ]
    step = max(int(round_step(max(count, 4))), 1)
    ticks = [
        f'<text class="small" x="{left + (_WIDTH - 8 - left) * (n + 0.5) / count:.1f}" y="{height + 18}" '
        f'text-anchor="middle">{n}</text>'
        for n in range(step, count, step)
    ]
    return [*marks, f'<text class="small" x="{left}" y="{height + 18}">epoch</text>', *ticks]


def frame(width: int, height: int, label: str, parts: Sequence[str], *, kind: str = "") -> str:
    """A picture around its parts.

    Args:
        width: in its own units.
        height: likewise.
        label: what screen readers say.
        parts: SVG elements.
        kind: CSS class; ``stretch`` takes the width there is without keeping the aspect ratio.
    """
    ratio = ' preserveAspectRatio="none"' if kind == "stretch" else ""
    name = html_text(label)
    head = f'<svg class="{css_class(kind)}" viewBox="0 0 {width} {height}" role="img" aria-label="{name}"{ratio}>'
    return head + "".join(parts) + "</svg>"
