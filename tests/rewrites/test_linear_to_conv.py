from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import apply, ops, reasons


@pytest.mark.parametrize("shape", [[1, 6, 8], [1, 2, 3, 8], [6, 8]])
def test_matmul_and_bias_become_one_conv(shape: list[int]) -> None:
    g = GraphWriter()
    result = apply(g.model(g.linear(g.input("x", shape), 8, 5)), "linear-to-conv")
    found = ops(result.model)
    assert found["Conv"] == 1
    assert not found["MatMul"]
    assert not found["Add"]


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_with_factors(turned: int) -> None:
    g = GraphWriter()
    x = g.input("x", [4, 6])
    weight = g.weight(*((5, 6) if turned else (6, 5)))
    y = g.node("Gemm", x, weight, g.vector(5), transB=turned, alpha=0.5, beta=2.0)
    assert ops(apply(g.model(y), "linear-to-conv").model)["Conv"] == 1


def test_layers_in_a_row_share_one_layout() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 8])
    for _ in range(3):
        x = g.node("Add", g.node("Relu", g.linear(x, 8, 8)), x)
    found = ops(apply(g.model(x), "linear-to-conv").model)
    assert found["Conv"] == 3
    assert found["Transpose"] == 2


def test_one_row_is_left_to_the_compiler() -> None:
    g = GraphWriter()
    result = apply(g.model(g.linear(g.input("x", [1, 8]), 8, 5)), "linear-to-conv")
    assert "one row" in reasons(result, "linear-to-conv")


def test_an_activation_as_weights_is_no_linear() -> None:
    g = GraphWriter()
    y = g.node("MatMul", g.input("a", [1, 4, 6]), g.input("b", [1, 6, 3]))
    assert ops(apply(g.model(y), "linear-to-conv").model)["MatMul"] == 1
