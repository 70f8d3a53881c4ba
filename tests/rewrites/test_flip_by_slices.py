from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import OLD, alone, apply, ops, reasons, software, stays


def reversed_rows(g: GraphWriter, x: str, how: str, axis: int = 0) -> str:
    if how == "sequence":
        return str(g.node("ReverseSequence", x, g.constant([5], np.int64), time_axis=0, batch_axis=1))
    bounds = [g.constant([v], np.int64) for v in (-1, -(1 << 40), axis, -1)]
    return str(g.node("Slice", x, *bounds))


@pytest.mark.parametrize("how", ["sequence", "slice"])
def test_a_reversed_axis(how: str) -> None:
    g = GraphWriter()
    model = g.model(g.node("Relu", reversed_rows(g, g.reshape(g.input("x", [1, 5, 4]), [5, 1, 4]), how)))
    result = apply(model, "flip-by-slices")
    assert "ReverseSequence" not in ops(result.model) and not software(result.model, OLD)


def test_single_steps_of_a_reversed_axis_are_read_as_they_lie() -> None:
    g = GraphWriter()
    x = reversed_rows(g, g.node("Relu", g.input("x", [1, 5, 4])), "slice", axis=1)
    step = g.node("Gather", x, g.constant([1], np.int64), axis=1)
    result = rewrite(g.model(g.node("Tanh", step)), None, RewriteConfig(), target=OLD)
    assert ops(result.model)["Slice"] == 1 and "Concat" not in ops(result.model)


def test_sequences_of_unequal_length_are_refused() -> None:
    g = GraphWriter()
    y = g.node("ReverseSequence", g.input("x", [5, 1, 4]), g.constant([3], np.int64), time_axis=0, batch_axis=1)
    assert "shorter than the axis" in reasons(apply(g.model(y), "flip-by-slices"), "flip-by-slices")


@pytest.mark.parametrize(("axis", "start", "end", "step"), [(0, -1, -99, -1), (1, 3, 0, -2), (-1, 99, -99, -3)])
def test_positions_are_those_of_python(axis: int, start: int, end: int, step: int) -> None:
    g = GraphWriter()
    bounds = (g.constant([v], np.int64) for v in (start, end, axis, step))
    run = alone(g.model(g.node("Slice", g.input("x", [3, 5, 4]), *bounds)), "flip-by-slices")
    x = np.arange(60, dtype=np.float32).reshape(3, 5, 4)
    (found,) = run_model(run.model, {"x": x}).values()
    along = [slice(None)] * 3
    along[axis] = slice(start, None if end == -99 else end, step)
    np.testing.assert_array_equal(found, x[tuple(along)])
    assert len(run.applied) == 1


def test_forward_slices_stay_and_long_axes_are_refused() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 700])
    assert not stays(g.model(g.every(x, 1, 0)), "flip-by-slices")
    assert "an axis of 700 elements" in stays(g.model(reversed_rows(g, x, "slice", axis=1)), "flip-by-slices")


def test_whole_numbers_stay() -> None:
    g = GraphWriter()
    turned = reversed_rows(g, g.node("Cast", g.input("x", [1, 5, 4]), to=7), "slice", axis=1)
    assert not stays(g.model(g.node("Cast", turned, to=1)), "flip-by-slices")
