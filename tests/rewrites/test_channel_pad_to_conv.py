from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import apply, ops


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_channel_pads(value: float) -> None:
    g = GraphWriter()
    pads = g.constant([0, 2, 0, 0, 0, 3, 0, 0], np.int64)
    result = apply(g.model(g.node("Pad", g.input("x", [1, 4, 5, 5]), pads, g.constant(value))), "channel-pad-to-conv")
    assert ops(result.model) == {"Conv": 1}


@pytest.mark.parametrize("pads", [[0, 2, 1, 0, 0, 0, 0, 0], [0, -1, 0, 0, 0, 2, 0, 0]])
def test_other_pads_are_left_alone(pads: list[int]) -> None:
    g = GraphWriter()
    model = g.model(g.node("Pad", g.input("x", [1, 4, 5, 5]), g.constant(pads, np.int64)))
    assert ops(apply(model, "channel-pad-to-conv").model)["Pad"] == 1
