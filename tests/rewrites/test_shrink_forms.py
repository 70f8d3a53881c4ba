"""Shrink as operators of the NPU."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, apply, ops, reasons, software


@pytest.mark.parametrize(("limit", "bias"), [(0.5, 0.5), (0.5, 0.0), (0.0, 0.0)])
def test_nothing_is_left_to_the_cpu(limit: float, bias: float) -> None:
    g = GraphWriter()
    model = g.model(g.node("Shrink", g.input("x", [1, 4, 6, 6]), lambd=limit, bias=bias))
    result = apply(model, "shrink-forms")
    assert "Shrink" not in ops(result.model) and software(model, NEW) and not software(result.model, NEW)
    x = np.linspace(-2, 2, 144, dtype=np.float32).reshape(1, 4, 6, 6)
    x.flat[:3] = limit, -limit, 0
    wanted = np.where(np.abs(x) > limit, x - np.sign(x) * bias, 0)
    np.testing.assert_allclose(next(iter(run_model(result.model, {"x": x}).values())), wanted, atol=1e-6)


def test_any_other_bias_stays() -> None:
    g = GraphWriter()
    model = g.model(g.node("Shrink", g.input("x", [1, 4, 6, 6]), lambd=0.5, bias=0.2))
    result = apply(model, "shrink-forms")
    assert ops(result.model) == {"Shrink": 1} and "bias" in reasons(result, "shrink-forms")
