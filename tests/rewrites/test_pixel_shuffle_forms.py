from __future__ import annotations

from collections.abc import Sequence

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def shuffle(before: Sequence[int], blocks: Sequence[int], perm: Sequence[int], after: Sequence[int]):
    g = GraphWriter()
    moved = g.node("Transpose", g.reshape(g.input("x", before), blocks), perm=perm)
    return g.model(g.reshape(moved, after))


@pytest.mark.parametrize(
    ("before", "blocks", "perm", "after", "op"),
    [
        ([1, 12, 4, 5], [1, 3, 2, 2, 4, 5], [0, 1, 4, 2, 5, 3], [1, 3, 8, 10], "DepthToSpace"),
        ([1, 12, 4, 5], [1, 2, 2, 3, 4, 5], [0, 3, 4, 1, 5, 2], [1, 3, 8, 10], "DepthToSpace"),
        ([1, 9, 4, 5], [1, 3, 3, 4, 5], [0, 3, 1, 4, 2], [1, 1, 12, 15], "DepthToSpace"),
        ([1, 3, 8, 10], [1, 3, 4, 2, 5, 2], [0, 3, 5, 1, 2, 4], [1, 12, 4, 5], "SpaceToDepth"),
        ([1, 3, 8, 10], [1, 3, 4, 2, 5, 2], [0, 1, 3, 5, 2, 4], [1, 12, 4, 5], "SpaceToDepth"),
    ],
)
def test_spelled_out_shuffles_are_known(before, blocks, perm, after, op: str) -> None:  # type: ignore[no-untyped-def]
    model = shuffle(before, blocks, perm, after)
    assert ops(apply(model, "pixel-shuffle-forms").model)[op] == 1
    rules = ("pixel-shuffle-forms", "depth-to-space-to-conv", "transpose-by-slices")
    for target in (OLD, NEW):
        assert software(model, target) and not software(apply(model, *rules, target=target).model, target)


def test_other_permutations_stay() -> None:
    model = shuffle([1, 12, 4, 6], [1, 12, 2, 2, 2, 3], [0, 1, 4, 2, 3, 5], [1, 12, 4, 6])
    assert not apply(model, "pixel-shuffle-forms").applied
