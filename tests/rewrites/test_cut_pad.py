from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import alone, ops, stays


def cut(start: int, end: int, axis: int = 1, step: int = 1, **form: Any) -> ir.Model:
    """Columns of a tensor [3, 6] that is padded by 2 in front and 3 behind."""
    g = GraphWriter()
    number = form.get("number", 0.5)
    given = [g.input("v", [])] if number == "computed" else [] if number is None else [g.constant(number)]
    pads = g.constant(form.get("pads", [0, 2, 0, 3]), np.int64)
    wide = g.node("Pad", g.input("x", [3, 6]), pads, *given, mode=form.get("mode", "constant"))
    return g.model(g.node("Slice", wide, *(g.constant([v], np.int64) for v in (start, end, axis, step))))


@pytest.mark.parametrize(("start", "end"), [(2, 8), (3, 5), (7, 8)])
def test_a_cut_of_the_tensor(start: int, end: int) -> None:
    run = alone(cut(start, end), "cut-pad")
    x = np.arange(18, dtype=np.float32).reshape(3, 6)
    (found,) = run_model(run.model, {"x": x}).values()
    np.testing.assert_array_equal(found, x[:, start - 2 : end - 2])
    assert len(run.applied) == 1 and "Pad" not in ops(run.model)


@pytest.mark.parametrize(("start", "end", "columns"), [(0, 2, 2), (8, 11, 3), (9, 2**31, 2)])
@pytest.mark.parametrize("number", [0.5, None])
def test_a_cut_of_the_padding(start: int, end: int, columns: int, number: float | None) -> None:
    run = alone(cut(start, end, number=number), "cut-pad")
    (found,) = run_model(run.model, {"x": np.ones((3, 6), np.float32)}).values()
    np.testing.assert_array_equal(found, np.full((3, columns), number or 0.0))
    assert len(run.applied) == 1 and "Pad" not in ops(run.model)


@pytest.mark.parametrize(("start", "end"), [(-9, -3), (-6, -4), (-2, 2**31), (-11, -9)])
def test_bounds_from_the_end(start: int, end: int) -> None:
    x = np.arange(18, dtype=np.float32).reshape(3, 6)
    run = alone(cut(start, end), "cut-pad")
    (found,) = run_model(run.model, {"x": x}).values()
    np.testing.assert_array_equal(found, np.pad(x, ((0, 0), (2, 3)), constant_values=0.5)[:, start:end])
    assert len(run.applied) == 1


def test_a_computed_number_matters_only_in_the_padding() -> None:
    assert alone(cut(2, 8, number="computed"), "cut-pad").applied
    assert not stays(cut(0, 2, number="computed"), "cut-pad")


@pytest.mark.parametrize(
    "form",
    [
        {"start": 1, "end": 4}, {"start": 5, "end": 9},
        {"start": 2, "end": 8, "step": 2}, {"start": 0, "end": 2, "axis": 0},
        {"start": 2, "end": 8, "mode": "edge"}, {"start": 1, "end": 3, "pads": [0, -1, 0, 3]},
        {"start": 2, "end": 8, "pads": [1, 2, 0, 3]},
    ],
    ids=str,
)  # fmt: skip
def test_other_cuts_stay(form: dict[str, Any]) -> None:
    assert not stays(cut(**form), "cut-pad")
