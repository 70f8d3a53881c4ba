"""What four bits in one layer do to the results of the last layers."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.graph.extract import with_outputs
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.weights.four_bits import narrow_layers, replaced
from n6convert.quantization.weights.layer_noise import last_layers, layer_noise, quieter
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


def test_noise_is_that_of_whole_runs(network: ir.Model) -> None:
    config = QuantizationConfig(equalization=False, bias_correction="off", merge_convolutions=False)
    result = quantize(network, feeds((1, 3, 8, 8), 8), config)
    exact, int8, held = result.prepared, result.model, list(feeds((1, 3, 8, 8), 6)())
    names = last_layers(exact)
    assert [next(n.op_type for n in exact.graph if n.name == name) for name in names] == ["Conv", "Gemm"]
    layers = narrow_layers(exact, int8, held)
    found = layer_noise(exact, int8, layers, held)
    assert set(found) == {n.layer for n in layers} and len(found) == 4

    def results(model: ir.Model) -> list[list[np.ndarray]]:
        nodes = {n.name: n.outputs[0].name for n in model.graph}
        session = Session(with_outputs(model, [nodes[n] for n in names]), threads=1)
        return [[session.run(sample)[nodes[n]].astype(np.float64) for n in names] for sample in held]

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
