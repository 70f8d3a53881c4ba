from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


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
