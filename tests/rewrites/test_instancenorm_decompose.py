from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, software


@pytest.mark.parametrize("target", [OLD, NEW])
def test_a_group_norm_is_an_instance_norm_of_groups(target: str) -> None:
    g = GraphWriter()
    groups = g.reshape(g.input("x", [1, 16, 8, 8]), [1, 4, -1])
    y = g.node("InstanceNormalization", groups, g.constant(np.ones(4)), g.constant(np.zeros(4)))
    y = g.node("Mul", g.reshape(y, [1, 16, 8, 8]), g.constant(g.random.standard_normal((16, 1, 1))))
    model = g.model(g.node("Add", y, g.constant(g.random.standard_normal((16, 1, 1)))))
    result = apply(model, "instancenorm-decompose", target=target)
    assert software(model, target) and not software(result.model, target)


@pytest.mark.parametrize("target", [OLD, NEW])
def test_instance_normalization(target: str) -> None:
    g = GraphWriter()
    model = g.model(g.node("InstanceNormalization", g.input("x", [1, 6, 8, 8]), g.vector(6, 1.0), g.vector(6)))
    assert software(model, target)
    assert not software(apply(model, "instancenorm-decompose", target=target).model, target)
