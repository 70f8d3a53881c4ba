from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


@pytest.mark.parametrize(
    ("op", "given"),
    [
        ("Elu", {}),
        ("Elu", {"alpha": 0.3}),
        ("Selu", {}),
        ("Selu", {"alpha": 1.2, "gamma": 0.7}),
        ("Celu", {"alpha": 2.0}),
    ],
)
def test_exact_and_in_hardware(op: str, given: dict[str, float]) -> None:
    g = GraphWriter()
    model = g.model(g.node(op, g.input("x", [1, 8, 6, 6]), **given))
    result = apply(model, "elu-to-exp")
    assert op not in ops(result.model)
    for target in (OLD, NEW):
        assert software(model, target) and not software(result.model, target)
