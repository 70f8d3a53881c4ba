"""Softplus and Mish, which the CPU would compute in float, as functions of the NPU."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def network(form: str):
    g = GraphWriter()
    x = g.input("x", [1, 4, 6, 6])
    softplus = g.node("Softplus", x)
    return g.model(softplus if form == "softplus" else g.node("Mul", x, g.node("Tanh", softplus)))


@pytest.mark.parametrize("form", ["softplus", "mish"])
@pytest.mark.parametrize("target", [OLD, NEW])
def test_nothing_is_left_to_the_cpu(form: str, target: str) -> None:
    model = network(form)
    assert software(model, target)
    result = apply(model, "softplus-forms", target=target)
    assert "Softplus" not in ops(result.model) and not software(result.model, target)


@pytest.mark.parametrize("form", ["softplus", "mish"])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_it_holds_far_from_zero_and_in_eight_bits(form: str, scale: float) -> None:
    rng = np.random.default_rng(0)
    model = network(form)
    samples = [{"x": (scale * rng.standard_normal((1, 4, 6, 6))).astype(np.float32)} for _ in range(8)]
    made = apply(model, "softplus-forms").model
    exact = np.logaddexp(0, samples[0]["x"].astype(np.float64))
    exact = samples[0]["x"] * np.tanh(exact) if form == "mish" else exact
    (found,) = run_model(made, samples[0]).values()
    np.testing.assert_allclose(found, exact, atol=1e-6 * max(scale, 1) * 4)
    config = QuantizationConfig(effort="fast")
    spelled, whole = (quantize(m, lambda: iter(samples), config).model for m in (made, model))
    evaluator = Evaluator(model, samples)
    assert evaluator.score(spelled) > min(evaluator.score(whole) - 3, 38)


def test_a_softplus_that_others_read_as_well_is_written_out_beside_its_mish() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 4, 6, 6])
    softplus = g.node("Softplus", x)
    model = g.model(g.node("Mul", x, g.node("Tanh", softplus)), g.node("Neg", softplus))
    assert "Softplus" not in ops(apply(model, "softplus-forms").model)
