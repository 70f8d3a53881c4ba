"""What four bits in one layer do to the results of the last layers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.graph.extract import with_outputs
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.weights.four_bits import narrow_layers, replaced
from n6convert.quantization.weights.layer_noise import ends_of, layer_noise, quieter
from n6convert.runtime.session import Session

from .nets import feeds, parse


@pytest.fixture(scope="module")
def network() -> ir.Model:
    """Two heads, of which one reads the first layer already; the other ends in a Softmax."""
    draw = np.random.default_rng(5)
    shapes = {"stem": (64, 3, 3, 3), "middle": (64, 64, 1, 1), "early": (32, 64, 1, 1), "head": (32, 64)}
    weights = {n: draw.normal(0, (2 / np.prod(s[1:])) ** 0.5, s).astype(np.float32) for n, s in shapes.items()}
    biases = {f"b_{n}": np.zeros(s[0], np.float32) for n, s in shapes.items()}
    body = """
    net (float[1,3,8,8] x) => (float[1,32] y, float[1,32,8,8] map) {
      a = Conv<pads=[1,1,1,1]>(x, stem, b_stem)
      r = Relu(a)
      map = Conv(r, early, b_early)
      c = Conv(r, middle, b_middle)
      d = Relu(c)
      p = GlobalAveragePool(d)
      f = Flatten(p)
      g = Gemm<transB=1>(f, head, b_head)
      y = Softmax(g)
    }"""
    return parse(body, **weights, **biases)


@pytest.fixture(scope="module")
def summed() -> ir.Model:
    """A LayerNormalization behind a residual sum, whose last layer gives variances; a Softmax reads layers alone."""
    draw = np.random.default_rng(6)
    shapes = {"stem": (64, 3, 3, 3), "inner": (64, 64, 1, 1), "head": (32, 64, 1, 1)}
    weights = {n: draw.normal(0, (2 / np.prod(s[1:])) ** 0.5, s).astype(np.float32) for n, s in shapes.items()}
    biases = {f"b_{n}": np.zeros(s[0], np.float32) for n, s in shapes.items()}
    body = """
    net (float[1,3,8,8] x) => (float[1,64,8,8] y, float[1,32,8,8] p) {
      a = Conv<pads=[1,1,1,1]>(x, stem, b_stem)
      r = Relu(a)
      h = Conv(r, head, b_head)
      p = Softmax<axis=1>(h)
      c = Conv(r, inner, b_inner)
      s = Add(r, c)
      q = Mul(s, s)
      v = Conv(q, mean, b_mean)
      d = Sqrt(v)
      y = Div(s, d)
    }"""
    return parse(
        body, **weights, **biases, mean=np.full((1, 64, 1, 1), 1 / 64, np.float32), b_mean=np.zeros(1, np.float32)
    )


@pytest.mark.parametrize("together", [1, 2, 8])
@pytest.mark.parametrize(("net", "ends", "count"), [("network", ["map", "g"], 4), ("summed", ["h", "y"], 3)])
def test_noise_is_that_of_whole_runs(
    net: str,
    ends: list[str],
    count: int,
    together: int,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("n6convert.quantization.weights.layer_noise._SHARED", together)
    network = request.getfixturevalue(net)
    config = QuantizationConfig(equalization=False, bias_correction="off", merge_convolutions=False)
    result = quantize(network, feeds((1, 3, 8, 8), 8), config)
    exact, int8, held = result.prepared, result.model, list(feeds((1, 3, 8, 8), 6)())
    assert ends_of(exact).tensors(exact) == ends
    layers = narrow_layers(exact, int8, held)
    found = layer_noise(exact, int8, layers, held)
    assert set(found) == {n.layer for n in layers} and len(found) == count

    def results(model: ir.Model) -> list[list[np.ndarray]]:
        names = ends_of(exact).tensors(model)
        session = Session(with_outputs(model, names), threads=1)
        return [[session.run(sample)[n].astype(np.float64) for n in names] for sample in held]

    wanted = [np.stack(arrays) for arrays in zip(*results(exact), strict=True)]

    def noise(model: ir.Model) -> float:
        runs = [np.stack(arrays) for arrays in zip(*results(model), strict=True)]
        return float(np.mean([np.mean((a - b) ** 2) / b.var() for a, b in zip(runs, wanted, strict=True)]))

    base = noise(int8)
    for narrow in layers:
        assert found[narrow.layer] == pytest.approx(noise(replaced(int8, [narrow])) - base, rel=1e-6, abs=1e-9)


def test_the_quieter_of_two_models(network: ir.Model) -> None:
    config = QuantizationConfig(equalization=False, bias_correction="off", merge_convolutions=False)
    result, held = quantize(network, feeds((1, 3, 8, 8), 8), config), list(feeds((1, 3, 8, 8), 6)())
    layers = narrow_layers(result.prepared, result.model, held)
    coarse = replaced(result.model, layers)
    assert quieter(result.prepared, [coarse, result.model], held) == 1
    assert quieter(result.prepared, [replaced(result.model, layers[:1]), coarse], held) == 0
