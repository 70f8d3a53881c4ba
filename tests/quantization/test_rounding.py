"""Rounding of layers: wide ones go in portions."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.layerwise import rounding
from n6convert.quantization.layerwise.walk import walk_layers

from .nets import parse

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")


def layer_of(body: str, samples: list[dict], **weights: np.ndarray):
    int8 = quantize(parse(body, **weights), lambda: iter(samples), PLAIN).model
    return next(walk_layers(int8, samples))


@pytest.mark.parametrize("kind", ["linear", "grouped"])
def test_wide_layers_are_rounded_in_portions_and_still_gain(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((10, 96))
    samples = [{"x": (rng.standard_normal((64, 10)) @ mix).astype(np.float32)} for _ in range(4)]
    w = (rng.standard_normal((24, 96)) / 10).astype(np.float32)
    body = "net (float[64,96] x) => (float[64,24] y) { y = Gemm<transB=1>(x, w, b) }"
    if kind == "grouped":
        samples = [{"x": s["x"].T.reshape(1, 96, 8, 8)} for s in samples]
        w = np.ascontiguousarray(w[:, :48]).reshape(24, 48, 1, 1)
        body = "net (float[1,96,8,8] x) => (float[1,24,8,8] y) { y = Conv<group=2>(x, w, b) }"
    b = np.zeros(24, np.float32)
    layer = layer_of(body, samples, w=w, b=b)
    groups = 2 if kind == "grouped" else 1
    size = 96 // groups
    whole = rounding.second_moments(layer, size, groups)
    monkeypatch.setattr(rounding, "_WIDEST", 40)
    portions = rounding.second_moments(layer, size, groups)
    assert sum(len(m) for m in portions) == 96 and max(len(m) for m in portions) <= 20
    first = len(portions[0])
    np.testing.assert_allclose(portions[0], whole[0][:first, :first], rtol=1e-6)

    def error(values: np.ndarray) -> float:
        gaps = np.split((values.reshape(24, -1) - w.reshape(24, -1)), groups)
        return float(sum(np.einsum("oi,ij,oj->", g, h, g) for g, h in zip(gaps, whole, strict=True)))

    before = error(layer.weight())
    rounding.round_layer(layer, w)
    assert error(layer.weight()) < 0.7 * before


def test_layers_that_read_the_same_codes_share_moments_and_others_do_not() -> None:
    rng = np.random.default_rng(1)
    samples = [{"x": rng.standard_normal((8, 12)).astype(np.float32)} for _ in range(3)]
    names = {f"w{i}": rng.standard_normal((12, 12)).astype(np.float32) for i in range(3)}
    names |= {f"b{i}": np.zeros(12, np.float32) for i in range(3)}
    body = """net (float[8,12] x) => (float[8,12] a, float[8,12] c) {
        a = Gemm<transB=1>(x, w0, b0)
        b = Gemm<transB=1>(x, w1, b1)
        c = Gemm<transB=1>(b, w2, b2)
    }"""
    int8 = quantize(parse(body, **names), lambda: iter(samples), PLAIN).model
    last, found = rounding.LastMoments(), []
    for layer in walk_layers(int8, samples):
        found.append(last.of(layer, 12))
        np.testing.assert_array_equal(found[-1][0], rounding.second_moments(layer, 12, 1)[0])
    assert found[1] is found[0] and found[2] is not found[1]


def test_rows_of_several_samples_at_once_have_the_same_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    samples = [{"x": rng.standard_normal((64, 10)).astype(np.float32)} for _ in range(9)]
    w = rng.standard_normal((4, 10)).astype(np.float32)
    body = "net (float[64,10] x) => (float[64,4] y) { y = Gemm<transB=1>(x, w, b) }"
    layer = layer_of(body, samples, w=w, b=np.zeros(4, np.float32))
    together = rounding.second_moments(layer, 10, 1)
    monkeypatch.setattr(rounding, "SINGLE", 1)
    np.testing.assert_array_equal(together[0], rounding.second_moments(layer, 10, 1)[0])


def test_moments_are_those_of_whole_numbers_up_to_the_ends_of_the_codes() -> None:
    draw = np.random.default_rng(4)
    samples = [{"x": draw.choice([-1.0, 1.0, 3.0], (250, 10)).astype(np.float32)} for _ in range(4)]
    body = "net (float[250,10] x) => (float[250,4] y) { y = Gemm<transB=1>(x, w, b) }"
    layer = layer_of(body, samples, w=draw.standard_normal((4, 10)).astype(np.float32), b=np.zeros(4, np.float32))
    codes = np.concatenate(list(layer.codes())).astype(np.int64) - layer.zero_point
    assert codes.min() < -1 < 127 < codes.max()  # larger than int8 codes themselves
    found = rounding.input_statistics(layer, 10, 1)
    np.testing.assert_array_equal(found.moments[0], codes.T @ codes)
    np.testing.assert_array_equal(found.means[0] * found.count, codes.sum(axis=0))
