from __future__ import annotations

import pytest

from .graphs import GraphWriter, neck
from .helpers import alone, apply, ops, reasons, stays


def test_another_reader_forbids_the_sum() -> None:
    result = apply(neck([16, 32], other_reader=True), "concat-conv-split")
    assert "needed by Relu" in reasons(result, "concat-conv-split")


def test_one_convolution_for_each_part() -> None:
    run = alone(neck([16, 32, 8]), "concat-conv-split")
    assert ops(run.model) == {"Conv": 6, "Add": 2}


def test_a_joined_tensor_that_is_an_output_forbids_the_sum() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 8, 4, 4])
    joined = g.node("Concat", x, g.node("Conv", x, g.weight(3, 8, 1, 1)), axis=1)
    model = g.model(g.node("Conv", joined, g.weight(4, 11, 1, 1)), joined)
    assert "needed by the outside" in stays(model, "concat-conv-split")


@pytest.mark.parametrize("form", ["groups", "weights", "bias"])
def test_other_convolutions_of_a_join_stay(form: str) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 8, 4, 4])
    joined = g.node("Concat", x, g.node("Conv", x, g.weight(4, 8, 1, 1)), axis=1)
    group = 2 if form == "groups" else 1
    weight = g.input("w", [4, 12, 1, 1]) if form == "weights" else g.weight(4, 12 // group, 1, 1)
    bias = g.input("b", [4]) if form == "bias" else g.vector(4)
    assert not stays(g.model(g.node("Conv", joined, weight, bias, group=group)), "concat-conv-split")
