"""The graph of epochs as one SVG: colored by where they run and how long they take, each leads to its table row."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from n6convert.escaping import html_text
from n6convert.report.epochs import DrawnEpoch, drawn_epochs
from n6convert.report.graph_layout import Placed, layered
from n6convert.results.section import PLACES
from n6convert.results.sections import Side

__all__ = ["MOST_VERTICES", "Vertex", "graph_svg", "joined"]

MOST_VERTICES = 300
"""More epochs are drawn in groups, so that the picture stays readable and the page small."""
#: pixels of a box, and of a box with the room around it
_BOX, _CELL = (148, 34), (164, 52)
_LETTERS = 19
_WORST_FIRST = ("sw", "hybrid", "hw", "none")
Point = tuple[float, int]


@dataclass
class Vertex:
    """One epoch, or several that follow each other."""

    epochs: list[DrawnEpoch]
    microseconds: float = field(init=False)
    where: str = field(init=False)

    def __post_init__(self) -> None:
        self.microseconds = sum(epoch.microseconds for epoch in self.epochs)
        self.where = min((epoch.where for epoch in self.epochs), key=_WORST_FIRST.index)

    @property
    def number(self) -> str:
        """Of the epoch, or of the first and the last."""
        first, last = self.epochs[0].number, self.epochs[-1].number
        return str(first) if first == last else f"{first} to {last}"

    @property
    def label(self) -> str:
        """Its operators, or how many epochs it stands for."""
        return self.epochs[0].kinds if len(self.epochs) == 1 else f"{len(self.epochs)} epochs"

    @property
    def milliseconds(self) -> str:
        """Predicted time with its unit."""
        return f"{self.microseconds / 1000:.2f} ms"


def graph_svg(side: Side | None, most: int = MOST_VERTICES) -> str:
    """The drawing; empty for a placement that does not say which epoch reads which.

    Args:
        side: the placement.
        most: vertices; more epochs are drawn in groups.
    """
    epochs = [epoch for epoch in (drawn_epochs(side) if side else ()) if epoch.where != "none"]
    if side is None or not side.edges or not epochs:
        return ""
    vertices = joined(epochs, most)
    home = {epoch.number: index for index, vertex in enumerate(vertices) for epoch in vertex.epochs}
    known = [(home[a], home[b]) for a, b in side.edges if a in home and b in home]
    edges = sorted({(a, b) for a, b in known if a < b})
    return _drawing(vertices, edges, layered(len(vertices), edges))


def joined(epochs: Sequence[DrawnEpoch], most: int) -> list[Vertex]:
    """Neighbors in order joined until few enough are left, the shortest first, equal places before different ones.

    Epochs run in order, so groups of neighbors can be drawn in order too: no edge points back.

    Args:
        epochs: in order.
        most: vertices that may be left.
    """
    groups = [[epoch] for epoch in epochs]
    time = [epoch.microseconds for epoch in epochs]
    after, before = list(range(1, len(epochs) + 1)), list(range(-1, len(epochs) - 1))
    alive, left = [True] * len(epochs), len(epochs)

    def price(a: int, b: int) -> tuple[bool, float, int, int, int]:
        return groups[a][-1].where != groups[b][0].where, time[a] + time[b], a, b, len(groups[a]) + len(groups[b])

    queue = [price(a, a + 1) for a in range(len(epochs) - 1)]
    heapq.heapify(queue)
    while left > most and queue:
        _, _, a, b, size = heapq.heappop(queue)
        if not (alive[a] and alive[b]) or size != len(groups[a]) + len(groups[b]):
            continue
        groups[a] += groups[b]
        time[a] += time[b]
        alive[b], left, after[a] = False, left - 1, after[b]
        if after[a] < len(epochs):
            before[after[a]] = a
            heapq.heappush(queue, price(a, after[a]))
        if before[a] >= 0:
            heapq.heappush(queue, price(before[a], a))
    return [Vertex(group) for group, lives in zip(groups, alive, strict=True) if lives]


def _drawing(vertices: Sequence[Vertex], edges: Iterable[tuple[int, int]], placed: Placed) -> str:
    width = round(_CELL[0] * (max(placed.x) + 0.5))
    height = _CELL[1] * (max(placed.layer) + 1)
    longest = max(vertex.microseconds for vertex in vertices) or 1.0
    lines = "".join(f'<path d="{_route(route)}"/>' for route in _once(placed.routes))
    boxes = "".join(
        _box(vertex, placed.x[i], placed.layer[i], vertex.microseconds / longest) for i, vertex in enumerate(vertices)
    )
    label = f"Graph of {len(vertices)} {'groups of ' * any(len(v.epochs) > 1 for v in vertices)}epochs"
    head = f'<svg role="group" aria-label="{label}" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    return f'{head}<g class="edges">{lines}</g>{boxes}</svg>'


def _box(vertex: Vertex, x: float, layer: int, share: float) -> str:
    left, top = _CELL[0] * x - _BOX[0] / 2, _CELL[1] * layer + (_CELL[1] - _BOX[1]) / 2
    text = vertex.label if len(vertex.label) <= _LETTERS else f"{vertex.label[: _LETTERS - 1]}…"
    place = PLACES.get(vertex.where, vertex.where)
    title = f"epoch {vertex.number}: {vertex.label}, {place}, {vertex.milliseconds}"
    return (
        f'<a href="#epoch-{vertex.epochs[0].number}" transform="translate({left:.0f} {top:.0f})">'
        f"<title>{html_text(title)}</title>"
        f'<rect class="{vertex.where}" width="{_BOX[0]}" height="{_BOX[1]}" rx="5" fill-opacity="{_tint(share):.2f}"/>'
        f'<text x="7" y="14">{html_text(text)}</text>'
        f'<text x="7" y="28" class="small">{vertex.number}</text>'
        f'<text x="{_BOX[0] - 7}" y="28" class="end">{vertex.milliseconds}</text></a>'
    )


def _tint(share: float) -> float:
    """How much of the color a box takes: text must stay readable on the longest epoch."""
    return 0.06 + 0.44 * float(share**0.5)


def _once(routes: Iterable[Sequence[Point]]) -> Iterator[Sequence[Point]]:
    """Routes without the beginning that they share with one before."""
    drawn: set[tuple[Point, Point]] = set()
    for route in routes:
        steps = list(pairwise(route))
        fresh = next((i for i, step in enumerate(steps) if step not in drawn), len(steps))
        drawn.update(steps)
        if fresh < len(steps):
            yield route[fresh:]


def _route(points: Sequence[Point]) -> str:
    """A curve from below the first box to above the last one, upright where it passes layers."""
    x, layer = points[0]
    found = f"M{_CELL[0] * x:.0f} {_bottom(layer):.0f}"
    for (x, layer), (to_x, to_layer) in pairwise(points):
        if round(_CELL[0] * (x - to_x)) == 0:
            continue
        start, end = _bottom(layer), _bottom(to_layer) - _BOX[1]
        across = f"{_CELL[0] * x:.0f} {(start + end) / 2:.0f} {_CELL[0] * to_x:.0f} {(start + end) / 2:.0f}"
        found += f"V{start:.0f}C{across} {_CELL[0] * to_x:.0f} {end:.0f}"
    return found + f"V{_bottom(points[-1][1]) - _BOX[1]:.0f}"


def _bottom(layer: int) -> float:
    """The lower edge of a layer's boxes."""
    return _CELL[1] * layer + (_CELL[1] + _BOX[1]) / 2
