from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import apply, ops


@pytest.mark.parametrize("shape", [(6, 1, 1), (1,), (6, 4, 4)])
def test_prelu(shape: tuple[int, ...]) -> None:
    g = GraphWriter()
    model = g.model(g.node("PRelu", g.input("x", [1, 6, 4, 4]), g.constant(g.random.random(shape))))
    found = ops(apply(model, "prelu-to-relu").model)
    assert found["PRelu"] == 0
    assert found["LeakyRelu"] == (shape == (1,))
