from __future__ import annotations

import numpy as np
import pytest

from n6convert.linter import lint

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


@pytest.mark.parametrize("shape", [[4, 1, 6], [4, 3, 5], [4, 6], [4, 2, 3, 5]])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (1, 3), (-2, 1 << 40)])
def test_a_slice_of_the_first_axis(shape: list[int], start: int, end: int) -> None:
    g = GraphWriter()
    x = g.reshape(g.input("x", [1, int(np.prod(shape))]), shape)
    bounds = [g.constant([v], np.int64) for v in (start, end, 0)]
    model = g.model(g.node("Relu", g.node("Slice", x, *bounds)))
    result = apply(model, "cut-off-batch", "slice-normal-form")
    cut = next(n for n in result.model.graph if n.op_type == "Slice")
    assert int(cut.inputs[3].const_value.numpy()[0]) == 1 and cut.inputs[0].shape[0] == 1
    assert not any("batch" in f.found for f in lint(result.model, NEW) if f.rule == "slice-axes")
    assert not software(result.model, OLD)


def test_layers_of_a_state_are_split() -> None:
    g = GraphWriter()
    x = g.reshape(g.input("x", [1, 6, 8]), [6, 1, 8])
    parts = g.node("Split", x, g.constant([1, 2, 3], np.int64), outputs=3, axis=0)
    result = apply(g.model(*[g.node("Relu", p) for p in parts]), "cut-off-batch")
    assert ops(result.model)["Slice"] == 3 and "Split" not in ops(result.model)


def test_every_other_row_stays() -> None:
    g = GraphWriter()
    x = g.reshape(g.input("x", [1, 12]), [4, 3])
    bounds = [g.constant([v], np.int64) for v in (0, 4, 0, 2)]
    assert "cut-off-batch" not in {a.rule for a in apply(g.model(g.node("Slice", x, *bounds)), "cut-off-batch").applied}
