"""Activations that exporters spell out are one operator when the quantizer gives them grids; proven by runs."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_text import drawn, parsed

from n6convert.quantization.prepare.prepare import prepare
from n6convert.runtime.session import run_model

CONSTANTS = {"three": 3.0, "zero": 0.0, "six": 6.0, "sixth": 1 / 6, "one": 1.0, "two": 2.0}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)", ["HardSwish"]),
        ("a = Add(three, x) c = Clip(a, zero, six) s = Mul(c, sixth) y = Mul(s, x)", ["HardSwish"]),
        ("a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)", ["HardSigmoid"]),
        ("n = Neg(x) e = Exp(n) t = Add(e, one) y = Div(x, t)", ["Sigmoid", "Mul"]),
        ("a = Add(x, two) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)", ["Add", "Clip", "Mul", "Div"]),
        ("a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) z = Div(m, six) y = Add(z, c)",
         ["Add", "Clip", "HardSwish", "Add"]),
    ],
)  # fmt: skip
def test_spelled_out_activations_are_one_operator(body: str, found: list[str]) -> None:
    model = parsed(body, "float[1,4,5,5] x", "float[1,4,5,5] y", **CONSTANTS)
    feeds = {"x": 4 * drawn({"x": [1, 4, 5, 5]})["x"]}
    whole = prepare(model)
    assert [n.op_type for n in whole.graph] == found
    np.testing.assert_allclose(run_model(whole, feeds)["y"], run_model(model, feeds)["y"], atol=1e-5)
    assert {str(v.name) for v in whole.graph.outputs} == {"y"}
