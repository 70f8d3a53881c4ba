"""Copies of tensors up to a bound: the same numbers, from tensors that are no wider than the bound asks."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.graph.builder import Builder
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.reparameterization.bounded_copies import BoundedCopies, is_nonnegative
from n6convert.runtime.session import run_model

from .nets import parse

CHANNELS, BANDS, STEPS = 6, 4, 10
#: what makes y from the signed maps a and b and the bank w >= 0
FORMS = {
    "sum of squares": "p = Mul(a, a)\n q = Mul(b, b)\n y = Add(p, q)",
    "bank of squares": "p = Mul(a, a)\n y = Conv(p, w, o)",
    "bank of magnitudes": "p = Mul(a, a)\n q = Mul(b, b)\n r = Add(p, q)\n s = Add(r, one)\n t = Sqrt(s)\n "
    "y = Conv(t, w, o)",
    "smoothed bank": "p = Abs(a)\n q = Conv(p, w, o)\n y = Conv<group=4, pads=[2,0]>(q, k, o)",
    "scaled, floored": "p = Mul(a, a)\n q = Conv(p, w, o)\n r = Mul(q, three)\n y = Clip(r, one)",
    "moved": "p = Relu(a)\n q = Transpose<perm=[0,2,1]>(p)\n r = MatMul(q, m)\n y = Transpose<perm=[0,2,1]>(r)",
    "mean of squares": "p = Mul(a, a)\n q = Transpose<perm=[0,2,1]>(p)\n y = GlobalAveragePool(q)",
}


@lru_cache
def net(form: str) -> ir.Model:
    rng = np.random.default_rng(3)
    numbers = {
        "wa": rng.standard_normal((CHANNELS, 2, 1)) * rng.lognormal(0, 2, (CHANNELS, 1, 1)),
        "wb": rng.standard_normal((CHANNELS, 2, 1)),
        "w": np.maximum(rng.uniform(-0.5, 1, (BANDS, CHANNELS, 1)), 0), "o": rng.uniform(0, 0.1, BANDS),
        "k": rng.uniform(0, 1, (BANDS, 1, 3)), "m": rng.uniform(0, 1, (CHANNELS, BANDS)),
        "one": np.array(0.5), "three": np.array(3.0),
    }  # fmt: skip
    body = f"net (float[1,2,{STEPS}] x) => (float y) {{ a = Conv(x, wa)\n b = Conv(x, wb)\n {FORMS[form]} }}"
    used = {n: v.astype(np.float32) for n, v in numbers.items() if f"{n}," in body or f"{n})" in body}
    return prepare(parse(body, **used))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.integers(0, 99), st.lists(st.floats(0.51, 30), min_size=1, max_size=3))
def test_a_copy_is_the_smaller_of_value_and_bound(form: str, seed: int, bounds: list[float]) -> None:
    model = net(form).clone()
    value, levels = model.graph.outputs[0], sorted(bounds)
    last = value.producer()
    assert last is not None and is_nonnegative(value)
    build = Builder(model.graph, "copy", 17)
    copies = BoundedCopies(build)
    made = [copies.upto(value, levels, i) for i in range(len(levels))]
    assert None not in made
    model.graph.insert_after(last, build.nodes)
    model.graph.outputs.extend(v for v in dict.fromkeys(made) if v is not None)
    x = np.random.default_rng(seed).standard_normal((1, 2, STEPS)).astype(np.float32) * 3
    found = run_model(model, {"x": x})
    for copy, level in zip(made, levels, strict=True):
        assert copy is not None
        assert found[copy.name or ""] == pytest.approx(np.minimum(found[value.name or ""], level), rel=1e-4, abs=1e-4)


def test_of_what_may_be_negative_or_comes_from_outside_there_are_no_lanes() -> None:
    model = prepare(parse("net (float[1,3,8] x) => (float y) { p = Mul(x, x)\n y = Sqrt(p) }"))
    assert BoundedCopies(Builder(model.graph, "copy", 17)).upto(model.graph.inputs[0], [1.0], 0) is None
    signed = np.array([[[1.0], [-1.0], [0.5]]], np.float32)
    mixed = prepare(parse("net (float[1,3,8] x) => (float y) { p = Mul(x, x)\n y = Conv(p, w) }", w=signed))
    assert not is_nonnegative(mixed.graph.outputs[0]) and not is_nonnegative(mixed.graph.inputs[0])
