from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("shape", [[1, 3, 20, 24], [1, 20, 3, 24], [1, 20, 24, 3]])
@pytest.mark.parametrize("perm", [[0, 2, 1, 3], [0, 1, 3, 2], [0, 3, 2, 1]])
def test_odd_permutations_become_swaps(shape: list[int], perm: list[int], target: str) -> None:
    g = GraphWriter()
    model = g.model(g.node("Relu", g.node("Transpose", g.input("x", shape), perm=perm)))
    assert software(model, target)["Transpose"] == 1
    result = apply(model, "transpose-by-slices", target=target)
    assert not software(result.model, target)


def test_heads_come_from_slices_of_the_weights() -> None:
    g = GraphWriter()
    x = g.linear(g.input("x", [1, 16, 32]), 32, 32)
    model = g.model(g.node("Relu", g.heads(x, 16, 4, 8, (0, 2, 1, 3))))
    found = ops(apply(model, "linear-to-conv", "transpose-by-slices").model)
    assert found["Conv"] == 4
    assert found["Split"] == 0


def test_too_many_slices_are_refused() -> None:
    g = GraphWriter()
    model = g.model(g.node("Transpose", g.input("x", [1, 80, 90, 100]), perm=[0, 2, 1, 3]))
    result = apply(model, "transpose-by-slices")
    assert "80 slices" in reasons(result, "transpose-by-slices")
    assert ops(result.model)["Transpose"] == 1


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(
    ("shape", "perm"),
    [([2, 7, 3, 5], [0, 2, 1, 3]), ([2, 3, 4, 5, 6], [4, 2, 0, 3, 1]), ([2, 6, 2, 6, 8], [0, 2, 1, 3, 4])],
)
def test_permutations_of_many_blocks(shape: list[int], perm: list[int], target: str) -> None:
    """Windows of a vision transformer, and orders in which nothing stays together."""
    g = GraphWriter()
    size = int(np.prod(shape))
    moved = g.node("Transpose", g.reshape(g.input("x", [1, size]), shape), perm=perm)
    model = g.model(g.node("Relu", g.reshape(moved, [1, size])))
    assert software(model, target)
    assert not software(apply(model, "transpose-by-slices", target=target).model, target)
