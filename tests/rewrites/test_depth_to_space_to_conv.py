from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, reasons, software


def shuffled(op: str, shape: list[int], **attributes: object):
    g = GraphWriter()
    x = g.node("Relu", g.input("x", shape))
    return g.model(g.node("Relu", g.node(op, x, **attributes)))


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(
    ("op", "shape", "attributes"),
    [
        ("DepthToSpace", [1, 12, 4, 5], {"blocksize": 2}),
        ("DepthToSpace", [1, 12, 4, 5], {"blocksize": 2, "mode": "CRD"}),
        ("DepthToSpace", [1, 18, 4, 4], {"blocksize": 3}),
        ("SpaceToDepth", [1, 5, 6, 8], {"blocksize": 2}),
    ],
)
def test_shuffles_are_exact_and_leave_the_cpu(op: str, shape: list[int], attributes: dict, target: str) -> None:
    model = shuffled(op, shape, **attributes)
    assert software(model, target)[op] == 1
    result = apply(model, "depth-to-space-to-conv", "transpose-by-slices", target=target)
    assert not software(result.model, target)


def test_too_many_weights_are_refused() -> None:
    result = apply(shuffled("SpaceToDepth", [1, 200, 4, 4], blocksize=2), "depth-to-space-to-conv")
    assert "more than 262,144" in reasons(result, "depth-to-space-to-conv")
