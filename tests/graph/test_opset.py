"""Operators that came after the quantizer's opset are written out, with the same numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError
from n6convert.graph.opset import drop_newer_attributes, upgrade_opset
from n6convert.quantization.prepare.prepare import prepare
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

FORMS = {
    "Mish(c)": 18,
    "GroupNormalization<num_groups=2>(c, half, shift)": 18,
    "GroupNormalization<num_groups=2>(c, scale, bias)": 21,
    "RMSNormalization<axis=-1>(c, row)": 23,
}


@pytest.mark.parametrize("form", FORMS)
def test_newer_operators_become_older_ones(form: str) -> None:
    text = f'<ir_version: 9, opset_import: ["": {FORMS[form]}]> g (float[1,4,5,6] x) => (float[1,4,5,6] y)'
    proto = onnx.parser.parse_model(f"{text} {{ c = Neg(x)  y = {form} }}")
    numbers = {"half": [1.5, 0.5], "shift": [0.1, 0.2], "scale": [1, 2, 3, 4], "bias": [0, 1, 2, 3], "row": [1] * 6}
    for name, values in numbers.items():
        if f" {name}" in form:
            proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(values, np.float32), name))
    model = ir.from_proto(proto)
    made = upgrade_opset(model, "here")
    known = {n.op_type for n in made.graph}
    assert all(onnx.defs.has(op, 17, "") for op in known) and "GroupNormalization" not in known
    assert made.opset_imports[""] <= 20
    sample = {"x": np.random.default_rng(0).standard_normal((1, 4, 5, 6)).astype(np.float32)}
    assert max_relative_difference(run_model(model, sample)["y"], run_model(made, sample)["y"]) < 1e-5


def test_a_gelu_stays_for_its_rule() -> None:
    text = '<ir_version: 9, opset_import: ["": 20]> g (float[1,4] x) => (float[1,4] y) { y = Gelu(x) }'
    assert [n.op_type for n in upgrade_opset(ir.from_proto(onnx.parser.parse_model(text)), "here").graph] == ["Gelu"]


REDUCTIONS = ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceLogSumExp")


@pytest.mark.parametrize("op", REDUCTIONS)
def test_defaults_that_an_exporter_writes_out_do_not_outlive_their_opset(op: str) -> None:
    """torch writes ``noop_with_empty_axes=0``, which reductions below opset 18 do not know."""
    text = f"""<ir_version: 10, opset_import: ["": 18]> g (float[1,4,6,6] x) => (float[1,4,1,1] y)
        {{ a = Constant<value = int64[2] {{2, 3}}>()  y = {op}<keepdims=1, noop_with_empty_axes=0>(x, a) }}"""
    model = ir.from_proto(onnx.parser.parse_model(text))
    made = prepare(model)
    assert made.opset_imports[""] == 17
    sample = {"x": np.random.default_rng(0).standard_normal((1, 4, 6, 6)).astype(np.float32)}
    assert max_relative_difference(run_model(model, sample)["y"], run_model(made, sample)["y"]) < 1e-6


def test_what_an_older_opset_cannot_say_is_refused_by_name() -> None:
    text = """<ir_version: 8, opset_import: ["": 13]> g (float[1,4] x) => (float[1,4] y)
        { y = ReduceMean<noop_with_empty_axes=1>(x) }"""
    with pytest.raises(GraphError, match="noop_with_empty_axes"):
        drop_newer_attributes(ir.from_proto(onnx.parser.parse_model(text)))
