"""Places for the vertices of an acyclic graph: layers from top to bottom, few crossings, edges as straight as may be.

The steps are those of Sugiyama's method: layers by longest path, vertices between for edges that pass layers, order
by the mean of the neighbors, and positions nearest to the neighbors that keep the distances.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["Placed", "layered"]

_SWEEPS = 4
_PULLS = 32
#: how far from straight a line looks bent, in vertices
_NEARLY = 0.3
#: width of an edge that passes a layer, in vertices
_PASSING = 0.25


@dataclass
class Placed:
    """Where vertices stand.

    Attributes:
        x: centers, in widths of a vertex, from 0.
        layer: of each vertex, from 0.
        routes: of each edge, the points (x, layer) that it goes through, both ends included.
    """

    x: list[float]
    layer: list[int]
    routes: list[list[tuple[float, int]]]


@dataclass
class _Net:
    """The graph with one vertex more wherever an edge passes a layer."""

    layer: list[int]
    width: list[float]
    above: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    below: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    passing: dict[tuple[int, int], int] = field(default_factory=dict)

    def join(self, source: int, target: int) -> list[int]:
        """The vertices of an edge; edges of one source share those that they pass layers by."""
        path = [source]
        for layer in range(self.layer[source] + 1, self.layer[target]):
            if (source, layer) not in self.passing:
                self.passing[source, layer] = len(self.layer)
                self.layer.append(layer)
                self.width.append(_PASSING)
                self._link(path[-1], self.passing[source, layer])
            path.append(self.passing[source, layer])
        self._link(path[-1], target)
        return [*path, target]

    def _link(self, source: int, target: int) -> None:
        self.below[source].append(target)
        self.above[target].append(source)


def layered(count: int, edges: Sequence[tuple[int, int]]) -> Placed:
    """Place vertices ``0 .. count - 1``.

    Args:
        count: of vertices.
        edges: pairs of a vertex and a later one.
    """
    net = _Net(_layers(count, edges), [1.0] * count)
    paths = [net.join(*edge) for edge in edges]
    rows = _ordered(net)
    x = _positions(net, rows)
    left = min((place - net.width[v] / 2 for v, place in enumerate(x)), default=0.0)
    x = [place - left for place in x]
    return Placed(x[:count], net.layer[:count], [[(x[v], net.layer[v]) for v in path] for path in paths])


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """The longest way from a start; starts stand right above what reads them first."""
    layer, starts = [0] * count, set(range(count))
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        layer[target] = max(layer[target], layer[source] + 1)
        starts.discard(target)
    first: dict[int, int] = {}
    for source, target in edges:
        if source in starts:
            first[source] = min(layer[target], first.get(source, layer[target]))
    for source, target in first.items():
        layer[source] = target - 1
    return layer


def _ordered(net: _Net) -> list[list[int]]:
    rows: list[list[int]] = [[] for _ in range(max(net.layer, default=-1) + 1)]
    for vertex, layer in enumerate(net.layer):
        rows[layer].append(vertex)
    place = {v: float(i) for row in rows for i, v in enumerate(row)}
    for _ in range(_SWEEPS):
        for order, near in ((rows[1:], net.above), (rows[-2::-1], net.below)):
            for row in order:
                wished = {v: _mean([place[n] for n in near[v]], place[v]) for v in row}
                row.sort(key=wished.__getitem__)
                place.update((v, float(i)) for i, v in enumerate(row))
    return rows


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _positions(net: _Net, rows: Sequence[Sequence[int]]) -> list[float]:
    x = [0.0] * len(net.layer)
    for row in rows:
        for vertex, offset in zip(row, _offsets(net, row), strict=True):
            x[vertex] = offset
    for turn in range(_PULLS):
        for row in rows if turn % 2 == 0 else rows[::-1]:
            offsets = _offsets(net, row)
            wished = [_mean([x[n] for n in (*net.above[v], *net.below[v])], x[v]) for v in row]
            kept = list(_rising([w - o for w, o in zip(wished, offsets, strict=True)]))
            for vertex, offset, base in zip(row, offsets, kept, strict=True):
                x[vertex] = base + offset
    for row in rows:
        _straighten(net, row, x)
    return x


def _straighten(net: _Net, row: Sequence[int], x: list[float]) -> None:
    """Vertices nearly below the one that they read alone stand right below it, where their neighbors leave room."""
    for place, vertex in enumerate(row):
        above = net.above[vertex]
        if len(above) != 1 or abs(x[above[0]] - x[vertex]) > _NEARLY:
            continue
        wished = x[above[0]]
        beside = [row[i] for i in (place - 1, place + 1) if 0 <= i < len(row)]
        if all(abs(wished - x[n]) >= (net.width[n] + net.width[vertex]) / 2 for n in beside):
            x[vertex] = wished


def _offsets(net: _Net, row: Sequence[int]) -> list[float]:
    """Centers of a row's vertices standing close together from 0."""
    found, edge = [], 0.0
    for vertex in row:
        found.append(edge + net.width[vertex] / 2)
        edge += net.width[vertex]
    return found


def _rising(values: Sequence[float]) -> Iterator[float]:
    """The sequence that never falls and is nearest to the values: falling neighbors become their mean."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        mean, size = value, 1
        while blocks and blocks[-1][0] > mean:
            before, count = blocks.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        blocks.append((mean, size))
    for mean, size in blocks:
        yield from [mean] * size
