"""The graph of epochs: no edge points back, boxes stand apart, large networks are drawn in groups of neighbors."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import numpy as np
import pytest

from n6convert.report.epochs import DrawnEpoch, drawn_epochs
from n6convert.report.graph_layout import layered
from n6convert.report.graph_view import graph_svg, joined
from n6convert.results.sections import OperatorPlace, Side


def network(count: int, seed: int = 0) -> list[tuple[int, int]]:
    """A random acyclic graph in which every vertex but the first has a reader and a writer."""
    draw = random.Random(seed)
    skips = {(draw.randrange(max(0, i - 30), i), i) for i in range(1, count) for _ in range(draw.randrange(1, 3))}
    return sorted(skips)


def epoch(number: int, where: str, microseconds: float) -> DrawnEpoch:
    facts = {"name": f"n{number}", "op": "Conv", "where": where, "epoch": number, "reason": "r"}
    return DrawnEpoch(number, [OperatorPlace.model_validate(facts | {"microseconds": microseconds})])


def side(epochs: list[DrawnEpoch], edges: list[tuple[int, int]]) -> Side:
    counts = {"total": len(epochs), "hw": len(epochs), "hybrid": 0, "sw": 0}
    operators = [part.model_dump() for e in epochs for part in e.parts]
    return Side.model_validate({"epochs": counts, "offload": 1.0, "operators": operators, "edges": edges})


@pytest.mark.parametrize("seed", range(4))
def test_edges_lead_down_and_boxes_of_a_layer_stand_apart(seed):
    edges = network(60, seed)
    placed = layered(60, edges)
    assert all(placed.layer[a] < placed.layer[b] for a, b in edges)
    for layer in set(placed.layer):
        across = sorted(placed.x[v] for v in range(60) if placed.layer[v] == layer)
        assert all(b - a >= 1 - 1e-9 for a, b in pairwise(across))
    for (a, b), route in zip(edges, placed.routes, strict=True):
        assert [point[1] for point in route] == list(range(placed.layer[a], placed.layer[b] + 1))
        assert (route[0][0], route[-1][0]) == (placed.x[a], placed.x[b])


def test_a_chain_is_one_straight_line_and_branches_lie_side_by_side():
    chain = layered(5, [(i, i + 1) for i in range(4)])
    assert chain.layer == [0, 1, 2, 3, 4] and np.ptp(chain.x) == 0
    diamond = layered(4, [(0, 1), (0, 2), (1, 3), (2, 3)])
    assert diamond.layer == [0, 1, 1, 2]
    assert diamond.x[0] == pytest.approx(diamond.x[3]) == pytest.approx((diamond.x[1] + diamond.x[2]) / 2)


def test_what_is_read_late_stands_right_above_its_reader():
    assert layered(4, [(0, 1), (1, 2), (3, 2)]).layer == [0, 1, 2, 1]


def test_few_epochs_are_never_joined():
    assert [v.number for v in joined([epoch(i, "hw", 1.0) for i in (1, 2, 3)], 3)] == ["1", "2", "3"]


def test_short_neighbors_are_joined_first_and_places_stay_apart():
    epochs = [epoch(1, "hw", 90), epoch(2, "hw", 1), epoch(3, "hw", 2), epoch(4, "sw", 1), epoch(5, "hw", 50)]
    assert [v.number for v in joined(epochs, 4)] == ["1", "2 to 3", "4", "5"]
    found = joined(epochs, 3)
    assert [(v.number, v.where, v.microseconds) for v in found] == [
        ("1 to 3", "hw", 93),
        ("4", "sw", 1),
        ("5", "hw", 50),
    ]
    assert joined(epochs, 1)[0].where == "sw"


def test_five_thousand_epochs_make_a_small_picture_with_every_edge_down():
    epochs = [epoch(i, "sw" if i % 50 == 0 else "hw", i % 7) for i in range(5000)]
    vertices = joined(epochs, 300)
    assert len(vertices) == 300 and sum(len(v.epochs) for v in vertices) == 5000
    assert [e.number for v in vertices for e in v.epochs] == list(range(5000))
    edges = [(i, i + 1) for i in range(4999)] + [(i, i + 20) for i in range(0, 4900, 9)]
    picture = graph_svg(side(epochs, edges))
    assert picture.count("<a ") == 300 and len(picture) < 250_000


def test_the_longest_epoch_has_the_fullest_color_and_text_is_escaped():
    epochs = [epoch(1, "hw", 100.0), epoch(2, "sw", 400.0)]
    epochs[1] = DrawnEpoch(2, [epochs[1].parts[0].model_copy(update={"op": "<b>"})])
    picture = graph_svg(side(epochs, [(1, 2)]))
    tints = [float(t) for t in re.findall(r'fill-opacity="([\d.]+)"', picture)]
    assert tints == [0.28, 0.5] and "<b>" not in picture and "&lt;b&gt;" in picture
    assert 'href="#epoch-2"' in picture and "0.40 ms" in picture


def test_reports_of_older_versions_have_no_graph():
    epochs = [epoch(1, "hw", 1.0)]
    assert graph_svg(side(epochs, [])) == graph_svg(None) == ""
    assert [e.number for e in drawn_epochs(side(epochs, []))] == [1]
