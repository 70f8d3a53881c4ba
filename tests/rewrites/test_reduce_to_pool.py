from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import OLD, alone, apply, ops, reasons, software, stays


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"])
@pytest.mark.parametrize("axes", [[2, 3], [1], [3], [1, 2, 3]])
def test_reductions_become_pools(op: str, axes: list[int]) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4, 5])
    y = g.node(op, x, g.constant(axes, np.int64)) if op == "ReduceSum" else g.node(op, x, axes=axes, keepdims=0)
    result = apply(g.model(y), "reduce-to-pool")
    assert op not in ops(result.model)
    assert not software(result.model, OLD)


def test_axes_with_a_gap_are_refused() -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("ReduceMean", g.input("x", [1, 6, 4, 5]), axes=[1, 3])), "reduce-to-pool")
    assert "no neighbors" in reasons(result, "reduce-to-pool")


def test_an_axis_in_the_middle_is_refused() -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("ReduceMean", g.input("x", [1, 6, 4, 5]), axes=[2])), "reduce-to-pool")
    assert "between others" in reasons(result, "reduce-to-pool")


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"])
@pytest.mark.parametrize("axes", [None, [-1], [0, 1], [0, 1, 2, 3]])
def test_one_reduction_by_itself(op: str, axes: list[int] | None) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4, 5])
    given = [] if axes is None else [g.constant(axes, np.int64)]
    y = g.node(op, x, *given) if op == "ReduceSum" else g.node(op, x, **({} if axes is None else {"axes": axes}))
    run = alone(g.model(y), "reduce-to-pool")
    assert len(run.applied) == 1 and op not in ops(run.model)
    sample = np.random.default_rng(0).standard_normal((1, 6, 4, 5)).astype(np.float32)
    wanted = getattr(np, op[6:].lower())(sample, axis=None if axes is None else tuple(axes), keepdims=True)
    (found,) = run_model(run.model, {"x": sample}).values()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["axes of length 1", "no axes, nothing to do"])
def test_what_reduces_nothing_stays(form: str) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 1, 5])
    one = form == "axes of length 1"
    y = g.node("ReduceMean", x, axes=[0, 2]) if one else g.node("ReduceSum", x, noop_with_empty_axes=1)
    assert not stays(g.model(y), "reduce-to-pool")
