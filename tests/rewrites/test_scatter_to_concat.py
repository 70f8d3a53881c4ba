from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, apply, ops, reasons, software

RULE = "scatter-to-concat"
SHAPE = (1, 6, 5, 4)


def positions(*where: range) -> np.ndarray:
    return np.stack(np.meshgrid(*where, indexing="ij"), axis=-1)


BOXES = {
    "some channels": (range(1), range(2, 4)),
    "the first channels": (range(1), range(3)),
    "a window": (range(1), range(6), range(1, 5), range(2)),
    "a corner of one channel": (range(1), range(5, 6), range(3, 5), range(3, 4)),
    "everything": (range(1), range(6)),
}


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("onto", ["zeros", "a tensor"])
def test_an_assignment_to_a_slice(box: str, onto: str) -> None:
    g, at = GraphWriter(), positions(*BOXES[box])
    x = g.input("x", SHAPE)
    data = g.constant(np.zeros(SHAPE)) if onto == "zeros" else g.node("Neg", x)
    updates = g.input("y", [*at.shape[:-1], *SHAPE[at.shape[-1] :]])
    result = apply(g.model(g.node("ScatterND", data, g.constant(at, np.int64), updates)), RULE)
    assert "ScatterND" not in ops(result.model)


def test_no_part_of_it_runs_on_the_cpu() -> None:
    g, at = GraphWriter(), positions(*BOXES["some channels"])
    x = g.input("x", SHAPE)
    y = g.node("ScatterND", x, g.constant(at, np.int64), g.node("Relu", g.input("y", [1, 2, 5, 4])))
    assert not software(rewrite(g.model(y), None, RewriteConfig(), target=NEW).model, NEW)


def test_positions_in_another_order_are_refused() -> None:
    g, at = GraphWriter(), positions(range(1), range(3))[:, ::-1]
    y = g.node("ScatterND", g.input("x", SHAPE), g.constant(at, np.int64), g.input("y", [1, 3, 5, 4]))
    assert "no box" in reasons(apply(g.model(y), RULE), RULE)
