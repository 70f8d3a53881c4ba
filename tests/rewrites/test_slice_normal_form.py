from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


def sliced(*parts: list[int]):
    g = GraphWriter()
    return g.model(g.node("Slice", g.input("x", [1, 6, 8, 4]), *(g.constant(p, np.int64) for p in parts)))


@pytest.mark.parametrize(
    ("parts", "slices"),
    [
        (([0, 1, 0], [2**31 - 1, 3, 2**63 - 1], [0, 1, 2]), 1),
        (([-3, 1], [-1, 2**31 - 1], [-2, 1]), 2),
        (([1, 1], [2**31 - 1, -1], [1, 2], [2, 3]), 2),
        (([0, 2], [1, 5]), 1),
    ],
)
def test_one_axis_each(parts: tuple[list[int], ...], slices: int) -> None:
    result = apply(sliced(*parts))
    assert ops(result.model)["Slice"] == slices
    for node in result.model.graph:
        assert node.inputs[1].const_value.numpy().size == 1
        assert 0 <= node.inputs[1].const_value.numpy()[0] < node.inputs[2].const_value.numpy()[0] <= 8


def test_backward_slices_are_left_to_another_rule() -> None:
    assert {a.rule for a in apply(sliced([-1], [-9], [1], [-1])).applied} == {"flip-by-slices"}


@pytest.mark.parametrize(
    ("start", "stop", "step", "taken"), [(-1, -(2**63), -2, 4), (6, 1, -1, 5), (5, -100, -3, 2), (100, 0, -1, 7)]
)
def test_backward_slices_in_steps(start: int, stop: int, step: int, taken: int) -> None:
    """With sentinels for "to the first", as Python's [::-2] is exported."""
    result = apply(sliced([start], [stop], [2], [step]))
    assert {a.rule for a in result.applied} == {"flip-by-slices"}
    assert ops(result.model)["Slice"] == taken


@pytest.mark.parametrize("ends", [(-4, -1), (-100, 3), (2, 2**63 - 1)])
def test_the_rule_by_itself(ends: tuple[int, int]) -> None:
    run = alone(sliced([1, ends[0]], [4, ends[1]], [1, 2]), "slice-normal-form")
    assert len(run.applied) == 1 and ops(run.model) == {"Slice": 2}


def test_plain_and_backward_slices_stay() -> None:
    assert not stays(sliced([2], [5], [2]), "slice-normal-form")
    assert not stays(sliced([-1], [-9], [1], [-1]), "slice-normal-form")
