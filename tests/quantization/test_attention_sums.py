"""Sums of weights in linear attention that the quantizer normalizes itself, for networks that no rewrite rule saw."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import quantize
from n6convert.quantization.prepare.attention_sums import normalize_sums
from n6convert.quantization.prepare.prepare import prepare
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

from .nets import feeds, parse

SHAPE = (1, 2, 8, 24)
INPUT = "float[1,2,8,24] x"
WEIGHTS = "q0 = MatMul(wq, x)\n q = Relu(q0)\n k0 = MatMul(wk, x)\n k = Relu(k0)\n v = MatMul(wv, x)\n"
#: values padded by ones, one product with the keys and one with the queries, cut in two
PADDED = f"""
net ({INPUT}) => (float[1,2,8,24] y) {{
  {WEIGHTS}
  one = Constant<value_float=1.0>()
  tiny = Constant<value_float=1e-5>()
  wide = Pad(v, pads, one)
  turned = Transpose<perm=[0,1,3,2]>(k)
  vk = MatMul(wide, turned)
  out = MatMul(vk, q)
  values, total = Split<axis=2>(out, parts)
  safe = Add(total, tiny)
  y = Div(values, safe)
}}"""
#: products that are divided by something else
SOFTMAX = f"""
net ({INPUT}) => (float[1,2,8,24] y) {{
  {WEIGHTS}
  turned = Transpose<perm=[0,1,3,2]>(k)
  s = MatMul(turned, q)
  p = Softmax<axis=2>(s)
  m = MatMul(v, p)
  e = Mul(m, m)
  r = ReduceMean<axes=[2]>(e)
  root = Sqrt(r)
  y = Div(m, root)
}}"""


def network(text: str, spread: float) -> ir.Model:
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal((1, 2, 8, 8)) for name in ("wq", "wk", "wv")}
    weights["wq"] *= random.lognormal(0, spread, (1, 2, 8, 1))
    weights["wk"] *= random.lognormal(0, spread, (1, 2, 8, 1))
    arrays = {name: w.astype(np.float32) for name, w in weights.items()}
    if "pads" in text:
        arrays |= {"pads": np.array([0, 0, 0, 0, 0, 0, 1, 0]), "parts": np.array([8, 1])}
    return parse(text, **arrays)


@pytest.mark.parametrize("tokens", [24, 1024])
def test_int8_denominators_hold_what_they_divide_by(tokens: int) -> None:
    """On one grid with the values the denominators are a few codes, and some are the zero that is divided by."""
    plain = QuantizationConfig(ranges="minmax", **QuantizationConfig.off())
    model = network(PADDED.replace("24]", f"{tokens}]"), 1.0)
    found = quantize(model, feeds((*SHAPE[:-1], tokens), 8), plain)
    assert found.facts["normalized_sums"]
    assert found.facts["outputs_sqnr_db"]["y"] > 20
    as_given = quantize(model, feeds((*SHAPE[:-1], tokens), 8), plain.model_copy(update={"normalize_attention": False}))
    assert as_given.facts["normalized_sums"] == [] and as_given.facts["outputs_sqnr_db"]["y"] < 20


def test_the_other_form_is_the_same_function() -> None:
    model, samples = prepare(network(PADDED, 1.0)), list(feeds(SHAPE, 6, seed=3)())
    changed, places = normalize_sums(model, samples[:4])
    assert len(places) == 1 and changed is not model
    for sample in samples:  # two of them unseen
        assert max_relative_difference(run_model(model, sample)["y"], run_model(changed, sample)["y"]) < 1e-5


@pytest.mark.parametrize("text", [SOFTMAX, PADDED.replace("k = Relu(k0)", "k = Identity(k0)")])
def test_what_divides_by_no_sum_of_weights_of_one_sign_stays(text: str) -> None:
    model = prepare(network(text, 1.0))
    changed, places = normalize_sums(model, list(feeds(SHAPE)()))
    assert changed is model and places == []
