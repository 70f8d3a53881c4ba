"""Pieces of graphs: regions end at the next products, and cut models compute what the whole did."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import drawn, parsed, value_of

from n6convert.graph.extract import Region, consumer_region, odd_step, thin_outputs, with_outputs
from n6convert.runtime.session import run_model

W = np.eye(4, dtype=np.float32) + 0.5


def region(model: ir.Model, name: str) -> Region:
    return consumer_region(value_of(model, name), {n: i for i, n in enumerate(model.graph)})


def test_a_region_ends_at_products_and_outputs() -> None:
    body = "t = Relu(x) a = Neg(t) m = MatMul(a, w) behind = Abs(m) b = Add(t, other) y = Exp(b) z = Add(behind, y)"
    model = parsed(body, "float[1,4] x, float[1,4] other", "float[] z, float[] y", w=W)
    found = region(model, "t")
    assert [n.outputs[0].name for n in found.nodes] == ["a", "m", "b", "y", "z"], (
        "in graph order, none behind a product"
    )
    assert {v.name for v in found.sinks} == {"m", "y", "z"}
    assert {v.name for v in found.others} == {"other", "behind"}, "read from outside; constants are no part"


def test_a_value_that_is_an_output_is_judged_itself() -> None:
    model = parsed("t = Relu(x) y = Neg(t)", "float[4] x", "float[] y, float[] t")
    assert {v.name for v in region(model, "t").sinks} == {"t", "y"}
    last = region(model, "y")
    assert last.nodes == [] and [v.name for v in last.sinks] == ["y"]


def test_long_chains_end_after_ten() -> None:
    chain = " ".join(f"t{i + 1} = Relu(t{i})" for i in range(15))
    found = region(parsed(chain, "float[4] t0", "float[] t15"), "t0")
    assert len(found.nodes) == 10 and [v.name for v in found.sinks] == ["t10"]


def test_indices_are_no_place_to_judge_an_error() -> None:
    model = parsed("t = Relu(x) i = ArgMax(t) y = Neg(t)", "float[2,4] x", "int64[] i, float[] y")
    assert [v.name for v in region(model, "t").sinks] == ["y"]


@pytest.mark.parametrize("names", [["b"], ["a", "b"], ["y"], ["b", "y"]])
def test_other_outputs_and_only_what_they_need(names: list[str]) -> None:
    model = parsed("a = MatMul(x, w) b = Relu(a) y = Neg(b)", "float[2,4] x", "float[] y", w=W)
    every = {"a": 1, "b": 2, "y": 3}
    feeds = drawn({"x": (2, 4)})
    whole = with_outputs(model, ["a", "b", "y"])
    cut = with_outputs(model, names)
    assert [v.name for v in cut.graph.outputs] == names and len(list(cut.graph)) == max(every[n] for n in names)
    wanted = run_model(whole, feeds)
    for name, value in run_model(cut, feeds).items():
        np.testing.assert_array_equal(value, wanted[name])
    assert [v.name for v in model.graph.outputs] == ["y"], "the model itself stays"


def test_a_graph_with_branches_is_cut_too() -> None:
    body = """a = Relu(x) y = If(c)<then_branch = p () => (float[4] u) { u = Neg(a) },
        else_branch = q () => (float[4] v) { v = Abs(a) }> z = Neg(y)"""
    model = parsed(body, "float[4] x, bool c", "float[] z")
    cut = with_outputs(model, ["y"])
    assert [n.op_type for n in cut.graph] == ["Relu", "If"]
    feeds = drawn({"x": (4,)}) | {"c": np.array(True)}
    np.testing.assert_array_equal(run_model(cut, feeds)["y"], -np.maximum(feeds["x"], 0))


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        with_outputs(parsed("y = Relu(x)", "float[4] x", "float[] y"), ["nowhere"])


def test_thin_outputs_give_an_even_share_of_the_values() -> None:
    model = parsed("t = Relu(x) y = Neg(t)", "float[3,50] x", "float[3,50] y, float[3,50] t")
    x = np.random.default_rng(0).standard_normal((3, 50)).astype(np.float32)
    whole, step = run_model(model, {"x": x}), odd_step(150, 40)
    assert step % 2 == 1 and len(range(0, 150, step)) <= 40
    for most, wanted in ((40, step), (150, 1)):
        thin = with_outputs(model, ["y", "t"])
        thin_outputs(thin, most, {"y": 150, "t": 150})
        for name, values in run_model(thin, {"x": x}).items():
            assert np.array_equal(values.reshape(-1), whole[name].reshape(-1)[::wanted])
