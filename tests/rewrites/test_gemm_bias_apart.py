from __future__ import annotations

import pytest

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


def test_a_computed_bias_of_gemm_is_a_sum() -> None:
    g = GraphWriter()
    y = g.node("Gemm", g.input("x", [2, 4]), g.weight(3, 4), g.input("c", [3]), transB=1, beta=0.5, alpha=2.0)
    assert ops(apply(g.model(y), "gemm-bias-apart").model) == {"Gemm": 1, "Mul": 1, "Add": 1}


@pytest.mark.parametrize("attributes", [{}, {"beta": 0.5, "alpha": 2.0}, {"beta": 0.0}], ids=str)
@pytest.mark.parametrize("bias", [[3], [2, 3], [2, 1]])
def test_attributes_and_shapes_of_the_bias(attributes: dict[str, float], bias: list[int]) -> None:
    g = GraphWriter()
    model = g.model(g.node("Gemm", g.input("x", [4, 2]), g.weight(4, 3), g.input("c", bias), transA=1, **attributes))
    run = alone(model, "gemm-bias-apart")
    assert len(run.applied) == 1
    assert all(len(n.inputs) == 2 for n in run.model.graph if n.op_type == "Gemm")


@pytest.mark.parametrize("bias", ["constant", "none"])
def test_a_constant_bias_stays(bias: str) -> None:
    g = GraphWriter()
    more = [g.vector(3)] if bias == "constant" else []
    assert not stays(g.model(g.node("Gemm", g.input("x", [2, 4]), g.weight(4, 3), *more)), "gemm-bias-apart")
