from __future__ import annotations

import onnx_ir as ir
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import OLD, alone, apply, ops, reasons, stays


def test_wide_convolutions_split_into_equal_parts() -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 8, 4, 4]), g.weight(960, 8, 1, 1), g.vector(960))
    assert ops(apply(g.model(y), "wide-conv-split").model) == {"Conv": 2, "Concat": 1}


def test_a_wide_convolution_stays_whole_where_that_is_predicted_faster() -> None:
    """Two places, two answers: on a map the vectors stream once a column, on one pixel a second start costs more."""
    g = GraphWriter()
    on_map = g.node("Relu", g.node("Conv", g.input("x", [1, 64, 16, 16]), g.weight(1024, 64, 1, 1), g.vector(1024)))
    y = g.node("Conv", g.node("GlobalAveragePool", on_map), g.weight(1280, 1024, 1, 1), g.vector(1280))
    model = g.model(y)

    def timer(graph: ir.Model) -> float:
        convs = [n.outputs[0].shape for n in graph.graph if n.op_type == "Conv"]
        return sum(3.0 if shape[2] > 1 and shape[1] > 512 else 1.0 for shape in convs)

    result = rewrite(model, None, RewriteConfig(rules=["wide-conv-split"]), target=OLD, threads=1, estimator=timer)
    forms = {c.place: (c.form, c.milliseconds) for c in result.choices}
    assert forms["64 to 1024 channels, kernel 1x1, map 16x16"][0] == "parts"
    form, times = forms["1024 to 1280 channels, kernel 1x1, map 1x1"]
    assert form == "whole" and times["whole"] < times["parts"]
    assert ops(result.model)["Conv"] == 3 and result.after is not None and result.before is not None
    assert result.after < result.before and "in one piece" in reasons(result, "wide-conv-split")


def test_prime_channel_counts_have_no_parts() -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 8, 4, 4]), g.weight(523, 8, 1, 1))
    assert "no equal parts" in reasons(apply(g.model(y), "wide-conv-split"), "wide-conv-split")


@pytest.mark.parametrize(("outputs", "groups"), [(512, 1), (1024, 2)])
def test_narrow_and_grouped_convolutions_stay(outputs: int, groups: int) -> None:
    g = GraphWriter()
    x, weight = g.input("x", [1, 8, 4, 4]), g.weight(outputs, 8 // groups, 1, 1)
    y = g.node("Conv", x, weight, g.vector(outputs), group=groups)
    assert not stays(g.model(y), "wide-conv-split")


def test_no_part_is_wide() -> None:
    g = GraphWriter()
    run = alone(g.model(g.node("Conv", g.input("x", [1, 8, 2, 2]), g.weight(1536, 8, 1, 1))), "wide-conv-split")
    assert [n.outputs[0].shape[1] for n in run.model.graph if n.op_type == "Conv"] == [512] * 3
