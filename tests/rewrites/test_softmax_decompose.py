from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(
    ("shape", "axis"), [([1, 4, 6, 10], -1), ([1, 5, 7], 2), ([1, 12, 3, 4], 1), ([3, 8], 1), ([1, 4, 16, 20], 2)]
)
def test_any_axis_is_exact_and_stays_on_the_npu(shape: list[int], axis: int, target: str) -> None:
    g = GraphWriter()
    model = g.model(g.node("Softmax", g.input("x", shape), axis=axis))
    assert software(model, target)["Softmax"] == 1
    result = apply(model, "softmax-decompose", "transpose-by-slices", target=target)
    assert "Softmax" not in ops(result.model)
    assert not software(result.model, target)


def test_a_target_that_expands_softmax_keeps_the_operator() -> None:
    g = GraphWriter()
    target = f"{NEW}+expand-softmax"
    model = g.model(g.node("Softmax", g.input("x", [1, 4, 6, 10])))
    result = apply(model, "softmax-decompose", target=target)
    assert ops(result.model) == {"Softmax": 1} and not software(result.model, target)
    assert "left to the compiler" in reasons(result, "softmax-decompose")


def test_an_axis_between_long_ones_is_refused() -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("Softmax", g.input("x", [1, 64, 8, 5]), axis=2)), "softmax-decompose")
    assert "between two others" in reasons(result, "softmax-decompose")
    assert ops(result.model)["Softmax"] == 1
