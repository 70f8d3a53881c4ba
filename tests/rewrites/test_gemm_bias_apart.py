from __future__ import annotations

from .graphs import GraphWriter
from .helpers import apply, ops


def test_a_computed_bias_of_gemm_is_a_sum() -> None:
    g = GraphWriter()
    y = g.node("Gemm", g.input("x", [2, 4]), g.weight(3, 4), g.input("c", [3]), transB=1, beta=0.5, alpha=2.0)
    assert ops(apply(g.model(y), "gemm-bias-apart").model) == {"Gemm": 1, "Mul": 1, "Add": 1}
