"""Channel factors through every kind of layout: exact in float, and large where channels are uneven."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.equalization.channel_map import map_channels
from n6convert.quantization.equalization.equalize import equalize
from n6convert.quantization.equalization.scale_variables import ScaleVariables
from n6convert.quantization.prepare.prepare import prepare
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

from .nets import feeds, parse
from .walk import float_islands

UNEVEN = np.geomspace(0.05, 20, 8).astype(np.float32)


def w(seed: int, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def uneven(seed: int, *shape: int) -> np.ndarray:
    """Weights ``[outputs, ...]`` whose outputs have very different size."""
    return w(seed, *shape) * np.resize(UNEVEN, shape[0]).reshape(-1, *[1] * (len(shape) - 1))


def clip() -> ir.Model:
    """Conv - Relu6 - depthwise - Relu6 - Conv, every bound reached."""
    body = """net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
      zero = Constant<value_float=0.0>()
      six = Constant<value_float=6.0>()
      a = Conv(x, w1, b1)
      c = Clip(a, zero, six)
      d = Conv<group=8>(c, w2, b2)
      e = Clip(d, zero, six)
      y = Conv(e, w3)
    }"""
    values = {"w1": uneven(1, 8, 3, 1, 1), "b1": 0.1 * UNEVEN, "w2": 0.2 * w(3, 8, 1, 1, 1) + 1, "b2": 0.1 * UNEVEN}
    return parse(body, **values, w3=w(5, 4, 8, 1, 1) / np.minimum(UNEVEN, 3).reshape(1, 8, 1, 1))


def concat() -> ir.Model:
    """Two branches joined, split again elsewhere, sliced, and read apart."""
    body = """net (float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,4,8,8] z) {
      a = Conv(x, w1)
      b = Conv(x, w2)
      ra = Relu(a)
      c = Concat<axis=1>(ra, b)
      sizes = Constant<value_ints=[8,4]>()
      p, q = Split<axis=1>(c, sizes)
      start = Constant<value_ints=[2]>()
      end = Constant<value_ints=[8]>()
      axis = Constant<value_ints=[1]>()
      s = Slice(p, start, end, axis)
      y = Conv(s, w3)
      z = Conv(q, w4)
    }"""
    return parse(
        body, w1=uneven(1, 8, 3, 1, 1), w2=uneven(2, 4, 3, 1, 1), w3=w(3, 4, 6, 1, 1), w4=w(4, 4, 4, 1, 1)
    )  # fmt: skip


def attention(product: str = "MatMul") -> ir.Model:
    """Query, key, value and output projections; heads split and joined by Reshape and Transpose."""
    scores = {
        "MatMul": "s = MatMul(qh, kt)",
        "Mul": """kc = Transpose<perm=[0,1,3,2]>(kt)
          qe = Unsqueeze(qh, three)
          ke = Unsqueeze(kc, two)
          m = Mul(qe, ke)
          s = ReduceMean<axes=[4], keepdims=0>(m)""",
    }[product]
    body = f"""net (float[1,6,16] x) => (float[1,6,16] y) {{
      heads = Constant<value_ints=[1,6,2,8]>()
      back = Constant<value_ints=[1,6,16]>()
      two = Constant<value_ints=[2]>()
      three = Constant<value_ints=[3]>()
      q = MatMul(x, wq)
      k = MatMul(x, wk)
      v = MatMul(x, wv)
      q4 = Reshape(q, heads)
      k4 = Reshape(k, heads)
      v4 = Reshape(v, heads)
      qh = Transpose<perm=[0,2,1,3]>(q4)
      kt = Transpose<perm=[0,2,3,1]>(k4)
      vh = Transpose<perm=[0,2,1,3]>(v4)
      {scores}
      p = Softmax<axis=-1>(s)
      o = MatMul(p, vh)
      t = Transpose<perm=[0,2,1,3]>(o)
      r = Reshape(t, back)
      y = MatMul(r, wo)
    }}"""
    size = np.resize(UNEVEN, 16)
    values = {"wq": w(1, 16, 16) * size, "wk": w(2, 16, 16) / size, "wv": w(3, 16, 16) * size}
    return parse(body, **values, wo=w(9, 16, 16) / size[:, None])


def norm(kind: str = "LayerNormalization") -> ir.Model:
    """An affine normalization in front of two linear layers."""
    steps = {
        "LayerNormalization": "n = LayerNormalization<axis=-1>(x, g, b)",
        "RMS": """xx = Mul(x, x)
          ms = ReduceMean<axes=[2]>(xx)
          root = Sqrt(ms)
          unit = Div(x, root)
          n = Mul(unit, g)""",
    }[kind]
    body = f"""net (float[1,6,16] x) => (float[1,6,8] y, float[1,6,8] z) {{
      {steps}
      y = MatMul(n, w1)
      z = MatMul(n, w2)
    }}"""
    size = np.resize(UNEVEN, 16)
    values = {"g": size, "w1": w(2, 16, 8) / size[:, None], "w2": w(3, 16, 8) / size[:, None]}
    return parse(body, 17, **values, **({"b": w(1, 16)} if kind == "LayerNormalization" else {}))


def bridge() -> ir.Model:
    """From a transformer's last normalization back to a map, a convolution, and a gate that scales the map."""
    body = """net (float[1,16,8] x, float[1,8,1,1] gate) => (float[1,4,4,4] y, float[1,4,4,4] z) {
      n = LayerNormalization<axis=-1>(x, g, b)
      map = Constant<value_ints=[1,8,4,4]>()
      t = Transpose<perm=[0,2,1]>(n)
      m = Reshape(t, map)
      h = Sigmoid(gate)
      gated = Mul(m, h)
      y = Conv(m, w1)
      z = Conv(gated, w2)
    }"""
    return parse(body, 17, g=UNEVEN, b=w(1, 8), w1=w(2, 4, 8, 1, 1), w2=w(3, 4, 8, 1, 1))


def sources(model: ir.Model) -> Callable:
    def make(seed: int = 0):
        rng = np.random.default_rng(seed)
        for _ in range(6):
            yield {v.name: rng.standard_normal(list(v.shape)).astype(np.float32) for v in model.graph.inputs}

    return make


CASES = {
    "clip": clip,
    "concat": concat,
    "attention": attention,
    "attention by elements": lambda: attention("Mul"),
    "layer norm": norm,
    "root mean square norm": lambda: norm("RMS"),
    "bridge": bridge,
}


@pytest.mark.parametrize("case", CASES)
def test_exact_in_float_and_worth_it(case: str) -> None:
    model = prepare(CASES[case]())
    make = sources(model)
    even, records, _ = equalize(model, list(make()))
    assert records and max(r["largest_factor"] for r in records) > 3
    for sample in make(seed=5):
        before, after = run_model(model, sample), run_model(even, sample)
        assert max(max_relative_difference(before[n], after[n]) for n in before) < 1e-5


@pytest.mark.parametrize("case", [*CASES])
def test_equalized_models_quantize_without_float_and_better(case: str) -> None:
    model = CASES[case]()
    make = sources(model)
    plain = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")
    results = [
        quantize(model, make, plain.model_copy(update={"equalization": on}), held_back=lambda: make(seed=7))
        for on in (False, True)
    ]
    assert float_islands(results[1].model) == []
    before, after = (np.mean(list(r.facts["outputs_sqnr_db"].values())) for r in results)
    assert after > before + 1


def test_query_and_key_cancel_and_value_reaches_the_output_projection() -> None:
    model = prepare(attention())
    channels = map_channels(model.graph)
    by_name = {v.name: v for v in channels.tensors}
    query, key, value, output = (channels.of(by_name[n]) for n in ("qh", "kt", "vh", "o"))
    np.testing.assert_array_equal(query[0, :, 0], -key[0, :, :, 0])
    np.testing.assert_array_equal(value, output)
    assert value.any() and query.any()
    assert not channels.of(by_name["p"]).any(), "a softmax is no place for factors"


def test_what_mixes_channels_is_left_alone() -> None:
    body = """net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
      a = Conv(x, w1)
      s = Sigmoid(a)
      m = Mul(a, s)
      y = Conv(m, w2)
    }"""
    model = prepare(parse(body, w1=uneven(1, 8, 3, 1, 1), w2=w(2, 4, 8, 1, 1)))
    even, records, _ = equalize(model, list(feeds((1, 3, 8, 8))()))
    assert records == []
    assert all(
        np.array_equal(v.const_value.numpy(), even.graph.initializers[n].const_value.numpy())
        for n, v in model.graph.initializers.items()
    )


def test_moved_clip_bounds_leave_no_operator_behind() -> None:
    model = clip()
    result = quantize(model, sources(model), QuantizationConfig(ranges="minmax"))
    assert any(m["method"] == "equalization" and m["kept"] for m in result.facts["methods"])
    assert not {"Clip", "Min", "Relu"} & {n.op_type for n in result.model.graph}


def test_a_clip_that_the_grid_cannot_replace_stays_where_it_is() -> None:
    """Behind a Concat the grid is shared with a wider tensor; one bound a channel would be a software operator."""
    body = """net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
      zero = Constant<value_float=0.0>()
      six = Constant<value_float=6.0>()
      a = Conv(x, w1)
      b = Clip(a, zero, six)
      c = Conv(x, w2)
      d = Concat<axis=1>(b, c)
      y = Conv(d, w3)
    }"""
    model = parse(body, w1=uneven(1, 8, 3, 1, 1), w2=30 * w(2, 4, 3, 1, 1), w3=w(3, 4, 12, 1, 1))
    result = quantize(model, sources(model), QuantizationConfig(ranges="minmax"))
    assert "Min" not in {n.op_type for n in result.model.graph}


def test_bounds_that_a_residual_sum_spreads_stay_where_they_are() -> None:
    """Two clips share their factors; where one of them saturates in other channels, one grid cannot enforce both."""
    body = """net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
      zero = Constant<value_float=0.0>()
      six = Constant<value_float=6.0>()
      a = Conv(x, w1)
      b = Clip(a, zero, six)
      c = Conv(b, w2)
      d = Add(b, c)
      e = Clip(d, zero, six)
      y = Conv(e, w3)
    }"""
    few = np.geomspace(0.01, 1, 8).astype(np.float32)
    values = {"w1": w(1, 8, 3, 1, 1) * few.reshape(8, 1, 1, 1), "w2": 4 * w(2, 8, 8, 1, 1)}
    model = parse(body, **values, w3=w(3, 4, 8, 1, 1) / few.reshape(1, 8, 1, 1))
    result = quantize(model, sources(model), QuantizationConfig(ranges="minmax"))
    assert "Min" not in {n.op_type for n in result.model.graph}


def test_labels_join_invert_and_pin() -> None:
    labels = ScaleVariables()
    a, b, c = labels.new(3), labels.new(3), labels.new(2)
    labels.unify(a, -b)
    np.testing.assert_array_equal(labels.find(b), -labels.find(a))
    labels.unify(a[:1], b[:1])  # its own inverse
    np.testing.assert_array_equal(labels.find(np.array([a[0], b[0]])), [0, 0])
    labels.fix(c[:1])
    np.testing.assert_array_equal(labels.find(c), [0, c[1]])
    wide = np.broadcast_to(c.reshape(2, 1), (2, 1000))
    assert labels.find(wide).strides[1] == 0


def test_a_reader_of_two_branches_judges_them_together() -> None:
    """Behind a Concat, which has no grid of its own, one weight reads channels of two groups of tensors."""
    body = """net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
      a = Conv(x, w1)
      b = Conv(x, w2)
      c = Concat<axis=1>(a, b)
      y = Conv(c, w3)
    }"""
    model = prepare(parse(body, w1=uneven(1, 8, 3, 1, 1), w2=w(2, 4, 3, 1, 1), w3=w(3, 4, 12, 1, 1)))
    even, records, _ = equalize(model, list(feeds((1, 3, 8, 8))()), strength=1.0)
    assert [(r["tensors"], r["channels"]) for r in records] == [(2, 12)]
    sample = next(feeds((1, 3, 8, 8), seed=4)())
    assert max_relative_difference(run_model(model, sample)["y"], run_model(even, sample)["y"]) < 1e-5


def test_factors_of_places_pass_through_pointwise_convolutions_without_bias() -> None:
    """Bilinear resizing written as convolutions over rows: network channels lie along the width there."""
    rng = np.random.default_rng(0)
    size = np.geomspace(0.05, 20, 8).astype(np.float32)
    body = """
    net (float[1,3,4,4] x) => (float[1,2,4,6] y) {
      a = Conv(x, w1)
      t = Transpose <perm = [0, 2, 1, 3]> (a)
      u = Conv(t, rows)
      v = Transpose <perm = [0, 2, 1, 3]> (u)
      f = Reshape(v, wide)
      y = Conv(f, w2)
    }"""
    weights = {
        "w1": rng.standard_normal((8, 3, 1, 1)) * size[:, None, None, None],
        "rows": np.abs(rng.standard_normal((6, 4, 1, 1))),
        "w2": rng.standard_normal((2, 8, 1, 1)) / size[None, :, None, None],
    }
    arrays = {n: w.astype(np.float32) for n, w in weights.items()} | {"wide": np.array([1, 8, 4, 6], np.int64)}
    model = prepare(parse(body, **arrays))
    samples = [{"x": rng.standard_normal((1, 3, 4, 4)).astype(np.float32)} for _ in range(4)]
    even, records, _ = equalize(model, samples)
    assert [r["channels"] for r in records] == [8]
    before, after = (run_model(m, samples[0])["y"] for m in (model, even))
    assert max_relative_difference(before, after) < 1e-5
