"""The same file whatever order float sums are added in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from n6convert.graph.extract import with_outputs
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.stable import best_of, exceeds, first_least, rounded, rounded_factors
from n6convert.runtime.session import Session

from .nets import cnn, feeds, parse

#: of a tensor's largest value
NOISE = 3e-7


def attention() -> ir.Model:
    """Wide enough that sums have many orders."""
    random = np.random.default_rng(3)
    body = """net (float[1,24,96] x) => (float[1,24,96] y) {
      q = MatMul(x, wq)
      k = MatMul(x, wk)
      v = MatMul(x, wv)
      kt = Transpose<perm = [0, 2, 1]>(k)
      s = MatMul(q, kt)
      p = Softmax(s)
      o = MatMul(p, v)
      r = Add(o, x)
      y = MatMul(r, wo)
    }"""
    return parse(
        body, **{n: (random.standard_normal((96, 96)) / 10).astype(np.float32) for n in ("wq", "wk", "wv", "wo")}
    )


NETS: dict[str, tuple[Callable[[], ir.Model], tuple[int, ...]]] = {
    "convolutions": (cnn, (1, 3, 16, 16)),
    "attention": (attention, (1, 24, 96)),
}


def quantized(net: str, threads: int = 1) -> bytes:
    """The INT8 file that all methods together make."""
    make, shape = NETS[net]
    held_back = feeds(shape, 4, seed=9)
    result = quantize(make(), feeds(shape, 6), QuantizationConfig(threads=threads), held_back=held_back)
    return ir.to_proto(result.model).SerializeToString(deterministic=True)


@pytest.fixture(scope="module", params=NETS)
def wanted(request: pytest.FixtureRequest) -> tuple[str, bytes]:
    return request.param, quantized(request.param)


def test_other_kernels_and_threads_make_the_same_file(
    wanted: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, file = wanted
    assert quantized(net, threads=3) == file
    monkeypatch.setenv("N6CONVERT_KERNELS", "plain")
    assert quantized(net) == file


def test_the_kernels_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = next(feeds((1, 3, 16, 16))())
    usual = Session(with_outputs(cnn(), ["e"])).run(sample)["e"]
    monkeypatch.setenv("N6CONVERT_KERNELS", "plain")
    plain = Session(with_outputs(cnn(), ["e"])).run(sample)["e"]
    assert 0 < np.abs(usual - plain).max() < 2e-6 * np.abs(usual).max()


@pytest.mark.parametrize("seed", [1, 2])
def test_float_noise_of_any_kind_makes_the_same_file(
    seed: int, wanted: tuple[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every value of every float graph is off as far as the order of sums moves the worst of them; zeros stay."""
    random, run = np.random.default_rng(seed), Session.run

    def noisy(session: Session, given: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found = run(session, given)
        return found if session.quantized else {n: blurred(v) for n, v in found.items()}

    def blurred(values: NDArray[Any]) -> NDArray[Any]:
        largest = np.abs(values).max(initial=0)
        noise = NOISE * (random.uniform(-1, 1, values.shape) * values + random.uniform(-1, 1, values.shape) * largest)
        return np.where(values == 0, values, values + noise).astype(values.dtype)

    monkeypatch.setattr(Session, "run", noisy)
    net, file = wanted
    assert quantized(net) == file


def test_ranges_keep_nine_bits_and_simple_numbers() -> None:
    assert rounded([6.0, -1.0, 0.0, 255.0, 0.75, np.inf]).tolist() == [6.0, -1.0, 0.0, 255.0, 0.75, np.inf]
    values = np.random.default_rng(0).standard_normal(1000) * 10.0 ** np.arange(-5, 5).repeat(100)
    assert np.abs(rounded(values) / values - 1).max() <= 2**-9
    assert np.mean(rounded(values) == rounded(values * (1 + NOISE))) > 0.999
    assert np.array_equal(rounded(6.0 * (1 + NOISE)), rounded(6.0 * (1 - NOISE)))


def test_factors_are_even_on_both_sides_of_one() -> None:
    factors = np.geomspace(0.01, 100, 401)
    found = rounded_factors(factors)
    assert np.abs(np.log2(found / factors)).max() <= 1 / 32 + 1e-9
    np.testing.assert_allclose(found * found[::-1], 1)


def test_the_first_of_equal_candidates_wins() -> None:
    assert first_least([2.0, 1.0 + NOISE, 1.0, 3.0]) == 1
    assert first_least([2.0, 1.1, 1.0, np.nan]) == 2
    assert first_least([0.0, 0.0]) == 0
    assert not exceeds(30.0 + NOISE, 30.0) and exceeds(30.01, 30.0)
    assert best_of(["a", "b", "c"], {"a": 1.0, "b": 30.0, "c": 30.0 + NOISE}.__getitem__) == "b"
