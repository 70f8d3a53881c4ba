"""Repairs: the fault is gone, the numbers are the same."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.linter import lint
from n6convert.linter.normalize import normalize
from n6convert.runtime.session import run_model

HEAD = '<ir_version: 10, opset_import: ["" : 18]>'

CASES = {
    "reshape-allowzero": "<int64[2] s = {1,64}> { y = Reshape <allowzero = 1> (x, s) }",
    "slice-sentinels": "<int64[1] a={-3}, int64[1] b={9223372036854775807}, int64[1] c={3}> { y = Slice (x, a, b, c) }",
    "pad-inputs": "<int64[4] p={1,2,3,0}, int64[2] a={-2,3}> { y = Pad (x, p, , a) }",
    "clip-bounds": "{ l = Constant <value_float = 0.2> () h = Constant <value_float = 0.6> () y = Clip (x, l, h) }",
    "initializers-as-inputs": "<float[1] w = {2.0}> { y = Mul (x, w) }",
    "ir-version": "{ y = Relu (x) }",
}


@pytest.mark.parametrize("rule", CASES)
def test_fault_is_mended_and_the_answer_stays(rule: str) -> None:
    extra = ", float[1] w" if rule == "initializers-as-inputs" else ""
    model = ir.from_onnx_text(f"{HEAD} g (float[1,1,8,8] x{extra}) => (float y) {CASES[rule]}")
    model.graph.outputs[0].shape = None
    if extra:
        array = ir.tensor(np.array([2.0], np.float32), name="w")
        model.graph.inputs[1].const_value = array
        model.graph.initializers["w"] = model.graph.inputs[1]
    assert rule in {f.rule for f in lint(model)}
    feeds = {"x": np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)}
    before = run_model(model, feeds)["y"]
    done = normalize(model)
    assert done
    assert rule not in {f.rule for f in lint(model)}
    np.testing.assert_array_equal(run_model(model, feeds)["y"], before)
    assert normalize(model) == []


def test_allowzero_stays_where_zero_means_zero() -> None:
    model = ir.from_onnx_text(
        f"{HEAD} g (float[0,4] x) => (float[0,2] y) <int64[2] s = {{0,2}}> {{ y = Reshape <allowzero = 1> (x, s) }}"
    )
    normalize(model)
    assert model.graph[0].attributes.get_int("allowzero", 0) == 1


def test_a_new_initializer_never_takes_a_taken_name() -> None:
    body = """<int64[1] a={0}, int64[1] b={99999999}, int64[1] c={3}, float[1] y_ends = {1.0}>
              { t = Mul (x, y_ends) y = Slice (t, a, b, c) }"""
    model = ir.from_onnx_text(f"{HEAD} g (float[1,1,8,8] x) => (float[1,1,8,8] y) {body}")
    normalize(model)
    names = [v.name for v in model.graph.initializers.values()]
    assert len(set(names)) == len(names)
    assert run_model(model, {"x": np.ones((1, 1, 8, 8), np.float32)})["y"].shape == (1, 1, 8, 8)
