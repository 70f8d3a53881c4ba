"""Odd models and odd samples: a correct result, or a refusal that names the tensor and the remedy."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError, QuantizationError
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model

from .nets import cnn, feeds, parse
from .walk import float_islands


def conv(weight: np.ndarray, bias: np.ndarray | None = None) -> ir.Model:
    body = "net (float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w%s) }"
    values = {"w": weight} if bias is None else {"w": weight, "b": bias}
    return parse(body % ("" if bias is None else ", b"), **values)


def weight(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((4, 3, 3, 3)).astype(np.float32)


def check(model: ir.Model, source, least: float = 25.0) -> None:
    result = quantize(model, source)
    assert float_islands(result.model) == []
    sample = next(iter(source()))
    exact, other = run_model(model, sample), run_model(result.model, sample)
    assert all(np.isfinite(v).all() for v in other.values())
    assert all(sqnr_db(exact[n], other[n]) > least for n in exact)


def test_weights_that_are_all_zero_in_a_channel() -> None:
    w = weight()
    w[2] = 0
    check(conv(w, np.array([0.1, -0.2, 3.0, 0.0], np.float32)), feeds((1, 3, 8, 8)))


def test_all_weights_zero() -> None:
    check(conv(np.zeros((4, 3, 3, 3), np.float32), np.array([0.1, -0.2, 3.0, 0.0], np.float32)), feeds((1, 3, 8, 8)))


def test_tiny_weights_with_a_large_bias_stay_inside_int32() -> None:
    check(conv(weight() * 1e-9, np.full(4, 5.0, np.float32)), feeds((1, 3, 8, 8)))


def test_constant_tensors() -> None:
    def zeros():
        for _ in range(3):
            yield {"x": np.zeros((1, 3, 8, 8), np.float32)}

    result = quantize(conv(weight(), np.ones(4, np.float32)), zeros)
    found = run_model(result.model, next(zeros()))["y"]
    np.testing.assert_allclose(found, 1.0, rtol=0.02)


def test_one_sample_only() -> None:
    check(cnn(), feeds((1, 3, 16, 16), 1), 15.0)


def test_wildly_different_samples() -> None:
    def samples():
        for i, sample in enumerate(feeds((1, 3, 8, 8), 6)()):
            yield {"x": sample["x"] * np.float32(10.0 ** (i - 3))}

    result = quantize(conv(weight()), samples)
    assert float_islands(result.model) == []


def test_shared_initializers() -> None:
    body = """
    net (float[1,4,8,8] x) => (float[1,4,8,8] y) {
      a = Conv<pads=[1,1,1,1]>(x, w, b)
      c = Relu(a)
      y = Conv<pads=[1,1,1,1]>(c, w, b)
    }"""
    w = np.random.default_rng(0).standard_normal((4, 4, 3, 3)).astype(np.float32)
    check(parse(body, w=w, b=np.ones(4, np.float32)), feeds((1, 4, 8, 8)))


def test_nan_in_the_weights_is_refused_by_name() -> None:
    w = weight()
    w[0, 0, 0, 0] = np.nan
    with pytest.raises(QuantizationError, match="not finite") as caught:
        quantize(conv(w), feeds((1, 3, 8, 8)))
    assert "w" in str(caught.value.place)


def test_infinity_in_a_sample_is_refused() -> None:
    def samples():
        yield {"x": np.full((1, 3, 8, 8), np.inf, np.float32)}

    with pytest.raises(QuantizationError, match="not finite") as caught:
        quantize(conv(weight()), samples, QuantizationConfig(ranges="minmax"))
    assert "tensor" in str(caught.value.place)


def test_sample_of_another_shape_or_without_an_input_is_refused() -> None:
    with pytest.raises(GraphError):
        quantize(conv(weight()), feeds((1, 3, 4, 4)))
    with pytest.raises(GraphError):
        quantize(conv(weight()), feeds((1, 3, 8, 8), name="z"))


def test_recurrent_layers_are_refused_with_a_remedy() -> None:
    body = "net (float[4,1,3] x) => (float[4,1,1,2] y) { y = GRU<hidden_size=2>(x, w, r) }"
    model = parse(body, w=np.ones((1, 6, 3), np.float32), r=np.ones((1, 6, 2), np.float32))
    with pytest.raises(QuantizationError, match="no INT8 form") as caught:
        quantize(model, feeds((4, 1, 3)))
    assert "unroll" in str(caught.value.remedy)


def test_integer_subgraphs_stay_as_they_are() -> None:
    body = """
    net (int64[1,4] ids) => (float[1,4,8] y) {
      e = Gather(table, ids)
      two = Constant<value_ints=[2]>()
      i2 = Mul(ids, two)
      f = Gather(table2, i2)
      y = Add(e, f)
    }"""
    rng = np.random.default_rng(0)
    values = {"table": rng.standard_normal((16, 8)), "table2": rng.standard_normal((32, 8))}
    model = parse(body, **{k: v.astype(np.float32) for k, v in values.items()})

    def samples():
        for i in range(4):
            yield {"ids": (np.arange(4, dtype=np.int64)[None] + i) % 16}

    check(model, samples)


def test_weights_in_external_files(tmp_path) -> None:
    ir.save(cnn(), tmp_path / "net.onnx", external_data="net.data")
    model = ir.load(tmp_path / "net.onnx")
    check(model, feeds((1, 3, 16, 16)), 15.0)


def test_empty_tensors_pass_through() -> None:
    body = """
    net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
      zero = Constant<value_ints=[0]>()
      one = Constant<value_ints=[1]>()
      none = Slice(x, zero, zero, one)
      c = Concat<axis=1>(x, none)
      y = Conv<pads=[1,1,1,1]>(c, w)
    }"""
    check(parse(body, w=weight()), feeds((1, 3, 8, 8)))


def test_channels_that_never_speak() -> None:
    """Half the channels are zero on every sample, in front of everything that equalization touches."""
    body = """
    net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
      a = Conv(x, w1, b1)
      r = Relu(a)
      y = Conv(r, w2)
    }"""
    rng = np.random.default_rng(0)
    w1, b1 = rng.standard_normal((8, 3, 1, 1)).astype(np.float32), np.zeros(8, np.float32)
    w1[::2], b1[::2] = 0, -1
    check(parse(body, w1=w1, b1=b1, w2=rng.standard_normal((4, 8, 1, 1)).astype(np.float32)), feeds((1, 3, 8, 8)))


def test_one_weight_behind_two_normalizations() -> None:
    """Each convolution folds its own normalization into its own copy."""
    body = """
    net (float[1,4,8,8] x) => (float[1,4,8,8] y) {
      a = Conv<pads=[1,1,1,1]>(x, w)
      n = BatchNormalization(a, g, s, m, v)
      r = Relu(n)
      c = Conv<pads=[1,1,1,1]>(r, w)
      y = BatchNormalization(c, v, m, s, g)
    }"""
    rng = np.random.default_rng(0)
    vectors = {name: rng.uniform(0.5, 1.5, 4).astype(np.float32) for name in "gsmv"}
    check(parse(body, w=rng.standard_normal((4, 4, 3, 3)).astype(np.float32), **vectors), feeds((1, 4, 8, 8)))


def test_wildly_different_samples_keep_the_large_ones_right() -> None:
    def samples():
        for i, sample in enumerate(feeds((1, 3, 8, 8), 6)()):
            yield {"x": sample["x"] * np.float32(10.0 ** (i - 3))}

    result = quantize(conv(weight()), samples, held_back=lambda: iter(list(samples())[-1:]))
    sample = list(samples())[-1]
    assert sqnr_db(run_model(conv(weight()), sample)["y"], run_model(result.model, sample)["y"]) > 25


def test_a_damaged_sample_is_named_with_its_input() -> None:
    def samples():
        yield {"x": np.zeros((1, 3, 8, 8), np.float32)}
        yield {"x": np.full((1, 3, 8, 8), np.nan, np.float32)}

    with pytest.raises(QuantizationError, match="not finite") as caught:
        quantize(conv(weight()), samples)
    assert "tensor x, sample 1" in str(caught.value.place)


def test_large_models_go_through_files(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """The path that models over 2 GB take, at a limit that a small one reaches."""
    from n6convert.graph import io
    from n6convert.runtime import session

    monkeypatch.setattr(session, "_LENT_FROM", 256)
    monkeypatch.setattr(session, "_NOT_REORDERED_FROM", 256)
    monkeypatch.setattr(io, "BESIDE_FROM", 256)
    result = quantize(cnn(), feeds((1, 3, 16, 16)))
    io.save(result.model, tmp_path / "net.int8.onnx")
    assert (tmp_path / "net.int8.onnx.data").is_file()
    sample = next(iter(feeds((1, 3, 16, 16), seed=2)()))
    stored, kept = run_model(tmp_path / "net.int8.onnx", sample), run_model(result.model, sample)
    np.testing.assert_array_equal(stored["y"], kept["y"])


def test_bounds_of_very_different_channels_are_kept() -> None:
    body = """
    net (float[1,3,8,8] x) => (float[1,4,8,8] y) {
      a = Conv<pads=[1,1,1,1]>(x, w)
      y = Min(a, bounds)
    }"""
    bounds = np.array([6, 0.1, 3, 5], np.float32).reshape(4, 1, 1)
    check(parse(body, w=weight(), bounds=bounds), feeds((1, 3, 8, 8)))
