"""Properties of the layered drawing that hold for every graph."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.report.graph_layout import _rising, layered

Edges = list[tuple[int, int]]


@st.composite
def _graphs(draw: st.DrawFn) -> tuple[int, Edges]:
    count = draw(st.integers(1, 14))
    pairs = [(a, b) for b in range(count) for a in range(b)]
    return count, draw(st.lists(st.sampled_from(pairs), max_size=20, unique=True)) if pairs else []


@settings(max_examples=60)
@given(graph=_graphs())
def test_edges_lead_down_through_every_layer(graph: tuple[int, Edges]) -> None:
    count, edges = graph
    placed = layered(count, edges)
    for (source, target), route in zip(edges, placed.routes, strict=True):
        assert route[0] == (placed.x[source], placed.layer[source])
        assert route[-1] == (placed.x[target], placed.layer[target])
        assert [layer for _, layer in route] == list(range(placed.layer[source], placed.layer[target] + 1))


@settings(max_examples=60)
@given(graph=_graphs())
def test_boxes_of_a_layer_do_not_overlap_and_the_drawing_starts_at_0(graph: tuple[int, Edges]) -> None:
    count, edges = graph
    placed = layered(count, edges)
    rows: dict[int, list[float]] = {}
    for x, layer in zip(placed.x, placed.layer, strict=True):
        rows.setdefault(layer, []).append(x)
    for row in rows.values():
        row.sort()
        assert all(b - a >= 1 - 1e-9 for a, b in zip(row, row[1:], strict=False))
    assert min(x for route in placed.routes for x, _ in route) >= -1e-9 if edges else True
    assert min(placed.x) >= 0.5 - 1e-9


@settings(max_examples=40)
@given(graph=_graphs())
def test_a_layer_is_the_longest_way_from_a_start_for_what_is_read(graph: tuple[int, Edges]) -> None:
    count, edges = graph
    placed = layered(count, edges)
    longest = [0] * count
    for source, target in sorted(edges, key=lambda edge: edge[1]):
        longest[target] = max(longest[target], longest[source] + 1)
    targets = {target for _, target in edges}
    assert all(placed.layer[vertex] == longest[vertex] for vertex in targets)
    readers = {v: [t for s, t in edges if s == v] for v in set(range(count)) - targets}
    for vertex, read in readers.items():
        assert placed.layer[vertex] == (min(placed.layer[t] for t in read) - 1 if read else 0)


def test_edges_of_one_source_share_their_way() -> None:
    placed = layered(5, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 3), (0, 4)])
    third, fourth = placed.routes[4], placed.routes[5]
    assert third[:-1] == fourth[: len(third) - 1]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_vertices_without_edges_stand_side_by_side(count: int) -> None:
    placed = layered(count, [])
    assert placed.layer == [0] * count and sorted(placed.x) == [0.5 + i for i in range(count)]


def test_a_fork_stands_over_the_middle_of_its_branches() -> None:
    placed = layered(4, [(0, 1), (0, 2), (0, 3)])
    assert placed.x[0] == pytest.approx(sum(placed.x[1:]) / 3)


@settings(max_examples=60)
@given(values=st.lists(st.floats(-100, 100), min_size=1, max_size=12))
def test_the_nearest_rising_sequence(values: list[float]) -> None:
    """It rises, keeps the sum, and no other rising sequence that was tried is nearer."""
    found = list(_rising(values))
    assert len(found) == len(values) and all(a <= b + 1e-9 for a, b in zip(found, found[1:], strict=False))
    assert sum(found) == pytest.approx(sum(values), abs=1e-6)
    distance = sum((a - b) ** 2 for a, b in zip(found, values, strict=True))
    for other in (
        sorted(values),
        [sum(values) / len(values)] * len(values),
        [max(values[: i + 1]) for i in range(len(values))],
    ):
        assert distance <= sum((a - b) ** 2 for a, b in zip(other, values, strict=True)) + 1e-6
