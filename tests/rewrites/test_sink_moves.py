from __future__ import annotations

from .graphs import GraphWriter
from .helpers import apply, ops


def test_channel_last_splits_become_channel_splits() -> None:
    g = GraphWriter()
    turned = g.node("Transpose", g.input("x", [1, 8, 4, 4]), perm=[0, 2, 3, 1])
    halves = g.node("Split", turned, axis=3, outputs=2)
    model = g.model(*(g.node("Transpose", g.node("Relu", h), perm=[0, 3, 1, 2]) for h in halves))
    assert ops(apply(model, "sink-moves").model) == {"Split": 1, "Relu": 2}
