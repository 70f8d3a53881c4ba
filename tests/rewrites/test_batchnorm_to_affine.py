from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, alone, apply, ops, software, stays


def test_batch_normalization_of_a_vector() -> None:
    g = GraphWriter()
    parameters = [g.vector(16, 1.0), g.vector(16), g.vector(16), g.constant(np.ones(16))]
    model = g.model(g.node("BatchNormalization", g.input("x", [1, 16]), *parameters))
    result = apply(model, "batchnorm-to-affine")
    assert "BatchNormalization" not in ops(result.model)
    assert software(model, OLD) and not software(result.model, OLD)


@pytest.mark.parametrize("target", [OLD, NEW])
def test_batch_normalization_alone(target: str) -> None:
    g = GraphWriter()
    parameters = [g.vector(6, 1.0), g.vector(6), g.vector(6), g.vector(6, 1.0)]
    model = g.model(g.node("BatchNormalization", g.node("Relu", g.input("x", [1, 6, 4, 4])), *parameters))
    result = apply(model, "batchnorm-to-affine", target=target)
    assert ops(result.model) == {"Relu": 1, "Mul": 1, "Add": 1}
    assert not software(result.model, target)


@pytest.mark.parametrize("full", [[1, 6], [1, 6, 5], [1, 6, 4, 4], [2, 6, 2, 2, 2]])
def test_any_number_of_axes(full: list[int]) -> None:
    g = GraphWriter()
    parameters = [g.random.standard_normal(6) for _ in range(3)] + [0.5 + g.random.random(6)]
    x = g.input("x", full)
    norm = g.node("BatchNormalization", x, *map(g.constant, parameters), epsilon=1e-3)
    run = alone(g.model(norm), "batchnorm-to-affine")
    assert ops(run.model) == {"Mul": 1, "Add": 1}
    sample = np.random.default_rng(1).standard_normal(full).astype(np.float32)
    gamma, beta, mean, variance = (p.reshape(1, 6, *[1] * (len(full) - 2)) for p in parameters)
    (found,) = run_model(run.model, {"x": sample}).values()
    np.testing.assert_allclose(found, gamma * (sample - mean) / np.sqrt(variance + 1e-3) + beta, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", ["behind a convolution", "computed"])
def test_other_norms_stay(form: str) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4, 4])
    x = g.node("Conv", x, g.weight(6, 6, 1, 1)) if form == "behind a convolution" else x
    scale = g.input("scale", [6]) if form == "computed" else g.vector(6, 1.0)
    parameters = [scale, g.vector(6), g.vector(6), g.vector(6, 1.0)]
    assert not stays(g.model(g.node("BatchNormalization", x, *parameters)), "batchnorm-to-affine")
