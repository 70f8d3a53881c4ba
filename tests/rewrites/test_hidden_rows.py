from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import alone, ops, stays


def guard(bias: str, g: GraphWriter, fill: float = 0.0, lowest: float = -np.inf, axis: int = -1) -> str:
    """Rows of the kept tensor are set to zero where the largest bias is -inf, as ONNX's Attention is written out."""
    kept = g.node("Relu", g.input("kept", [1, 2, 4, 4]))
    largest = g.node("ReduceMax", bias, axes=[axis], keepdims=1)
    return str(g.node("Where", g.node("Equal", largest, g.constant(lowest)), g.constant(fill), kept))


def masked(g: GraphWriter, hidden: float = -np.inf, shift: float = -0.5) -> str:
    """A bias of 0 where an input exceeds a number, else ``hidden``."""
    mask = g.node("Greater", g.input("m", [1, 1, 4, 4]), g.constant(shift))
    return str(g.node("Where", mask, g.constant(0.0), g.constant(hidden)))


@pytest.mark.parametrize("shift", [-9.0, 0.8, 9.0])
def test_a_computed_mask_hides_rows(shift: float) -> None:
    g = GraphWriter()
    run = alone(g.model(guard(masked(g, shift=shift), g)), "hidden-rows")
    assert not {"Equal", "Greater"} <= ops(run.model).keys() and ops(run.model)["Where"] == 0
    random = np.random.default_rng(3)
    m, kept = (random.standard_normal(s).astype(np.float32) for s in ((1, 1, 4, 4), (1, 2, 4, 4)))
    (found,) = run_model(run.model, {"m": m, "kept": kept}).values()
    np.testing.assert_array_equal(found, np.maximum(kept, 0) * (m > shift).any(axis=-1, keepdims=True))


def test_two_masks_together() -> None:
    g = GraphWriter()
    causal = np.where(np.tril(np.ones((4, 4)), -1) > 0, 0.0, -np.inf)
    run = alone(g.model(guard(g.node("Add", masked(g), g.constant(causal)), g)), "hidden-rows")
    assert ops(run.model)["Where"] == 0 and ops(run.model)["ReduceMax"] == 1


def test_a_bias_from_outside_is_finite() -> None:
    g = GraphWriter()
    assert ops(alone(g.model(guard(g.input("bias", [1, 1, 4, 4]), g)), "hidden-rows").model) == {"Relu": 1}


@pytest.mark.parametrize("hidden", [0, 2])
def test_a_constant_bias_says_which_rows(hidden: int) -> None:
    g = GraphWriter()
    bias = np.zeros((1, 1, 4, 4))
    bias[..., :hidden, :] = -np.inf
    run = alone(g.model(guard(g.constant(bias), g)), "hidden-rows")
    assert ops(run.model) == ({"Relu": 1, "Mul": 1} if hidden else {"Relu": 1})


@pytest.mark.parametrize(
    "form", [{"fill": 1.0}, {"lowest": -1e9}, {"axis": -2}, {"hidden": -1e9}, {"computed": True}], ids=str
)
def test_other_guards_stay(form: dict[str, float]) -> None:
    g = GraphWriter()
    bias = masked(g, form.pop("hidden", -np.inf))
    bias = g.node("Exp", bias) if form.pop("computed", False) else bias
    assert not stays(g.model(guard(bias, g, **form)), "hidden-rows")


def test_a_kept_tensor_that_is_repeated_stays() -> None:
    g = GraphWriter()
    largest = g.node("ReduceMax", masked(g), axes=[-1], keepdims=1)
    hidden = g.node("Equal", largest, g.constant(-np.inf))
    assert not stays(g.model(g.node("Where", hidden, g.constant(0.0), g.input("kept", [1, 1, 1, 4]))), "hidden-rows")


def test_views_of_a_finite_bias_are_finite_and_those_of_a_mask_stay() -> None:
    g = GraphWriter()
    assert alone(g.model(guard(g.reshape(g.input("bias", [4, 4]), [1, 1, 4, 4]), g)), "hidden-rows").applied
    g = GraphWriter()
    assert not stays(g.model(guard(g.reshape(masked(g), [1, 1, 4, 4]), g)), "hidden-rows")
