from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, alone, apply, ops, software, stays


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


@pytest.mark.parametrize("full", [[1, 6, 8, 8], [1, 6, 40], [1, 6, 2, 4, 4]])
def test_by_itself_on_any_number_of_axes(full: list[int]) -> None:
    g = GraphWriter()
    model = g.model(g.node("InstanceNormalization", g.input("x", full), g.vector(6, 1.0), g.vector(6)))
    run = alone(model, "instancenorm-decompose")
    assert len(run.applied) == 1 and "InstanceNormalization" not in ops(run.model)


@pytest.mark.parametrize("form", ["two samples", "computed"])
def test_other_norms_stay(form: str) -> None:
    g = GraphWriter()
    x = g.input("x", [2 if form == "two samples" else 1, 6, 8, 8])
    scale = g.input("scale", [6]) if form == "computed" else g.vector(6, 1.0)
    assert not stays(g.model(g.node("InstanceNormalization", x, scale, g.vector(6))), "instancenorm-decompose")
