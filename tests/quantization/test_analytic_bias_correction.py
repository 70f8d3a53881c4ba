"""BatchNormalization: folded exactly, and what it knows used to correct biases without data."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.errors import QuantizationError
from n6convert.graph.extract import with_outputs
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.layerwise.analytic_bias_correction import correct_analytically, expectations
from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.layerwise.walk import layers_of, walk_layers
from n6convert.quantization.prepare.batch_norm import statistics
from n6convert.quantization.prepare.prepare import prepare
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import Session, run_model

from .nets import cnn, feeds, parse
from .walk import float_islands

PLAIN = {"ranges": "minmax", "equalization": False, "rounding": "nearest"}
SAMPLES = feeds((1, 3, 16, 16), 8)


def normalized_net() -> ir.Model:
    """Conv - BN - Relu - depthwise - BN - SiLU - Conv, a sum, pooling, Gemm; BN statistics measured on data."""
    rng = np.random.default_rng(0)

    def w(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    body = """net (float[1,3,16,16] x) => (float[1,5] y) {
      a = Conv<pads=[1,1,1,1]>(x, w1)
      n1 = BatchNormalization(a, g1, s1, m1, v1)
      r = Relu(n1)
      d = Conv<group=16>(r, w2)
      n2 = BatchNormalization(d, g2, s2, m2, v2)
      h = Sigmoid(n2)
      s = Mul(n2, h)
      e = Conv(s, w3)
      t = Add(e, r)
      p = GlobalAveragePool(t)
      f = Flatten(p)
      y = Gemm<transB=1>(f, w4, b4)
    }"""
    weights = {"w1": w(16, 3, 3, 3), "w2": w(16, 1, 1, 1) + 1, "w3": w(16, 16, 1, 1)}
    weights |= {"w4": w(5, 16), "b4": w(5, 1)[:, 0]}
    for i in (1, 2):
        weights |= {f"g{i}": rng.lognormal(0, 0.4, 16), f"s{i}": rng.normal(0.3, 0.5, 16)}
        weights |= {f"m{i}": np.zeros(16), f"v{i}": np.ones(16)}
    for i, name in ((1, "a"), (2, "d")):  # what training leaves in the running mean and variance
        model = parse(body, **{n: np.asarray(v, np.float32) for n, v in weights.items()})
        session = Session(with_outputs(model, [name]))
        values = np.concatenate([session.run(s)[name] for s in feeds((1, 3, 16, 16), 64, seed=9)()])
        weights |= {f"m{i}": values.mean((0, 2, 3)), f"v{i}": values.var((0, 2, 3))}
    return parse(body, **{n: np.asarray(v, np.float32) for n, v in weights.items()})


def coarse(model: ir.Model) -> ir.Model:
    """The same with 3-bit weights, so that there is something to correct."""
    for layer in layers_of(model):
        codes = layer.initializer(1)
        codes.const_value = ir.tensor((codes.const_value.numpy() // 32 * 32).astype(np.int8), name=codes.name)
    return model


def test_folding_is_exact_and_keeps_the_statistics() -> None:
    model = normalized_net()
    prepared = prepare(model)
    assert "BatchNormalization" not in {n.op_type for n in prepared.graph}
    assert len([n for n in prepared.graph if n.op_type == "Mul"]) == 1
    known = statistics(prepared.graph)
    assert set(known) == {"n1", "n2"}
    sample = next(SAMPLES())
    assert max_relative_difference(run_model(model, sample)["y"], run_model(prepared, sample)["y"]) < 1e-5
    int8 = quantize(model, SAMPLES, QuantizationConfig(**PLAIN)).model
    assert not int8.graph.metadata_props and not float_islands(int8)


def test_a_transposed_and_grouped_convolution_folds() -> None:
    body = """net (float[1,4,5,5] x) => (float[1,6,10,10] y) {
      a = ConvTranspose<strides=[2,2], group=2>(x, w)
      y = BatchNormalization(a, g, s, m, v)
    }"""
    rng = np.random.default_rng(1)
    values = {n: rng.random(6).astype(np.float32) + 0.5 for n in "gsmv"}
    model = parse(body, w=rng.standard_normal((4, 3, 2, 2)).astype(np.float32), **values)
    prepared = prepare(model)
    assert [n.op_type for n in prepared.graph] == ["ConvTranspose"]
    sample = next(feeds((1, 4, 5, 5))())
    assert max_relative_difference(run_model(model, sample)["y"], run_model(prepared, sample)["y"]) < 1e-5


def test_expectations_are_those_of_the_data() -> None:
    model = prepare(normalized_net())
    known = {v.name: k for v, k in expectations(model).items()}
    assert {"r", "s", "e", "t", "p", "f"} <= set(known)
    session = Session(with_outputs(model, ["r", "s", "t"]))
    runs = [session.run(s) for s in feeds((1, 3, 16, 16), 32, seed=3)()]
    for name in ("r", "s", "t"):
        measured = np.mean([r[name].mean(axis=(0, 2, 3)) for r in runs], axis=0)
        assert np.abs(known[name].mean - measured).max() < 0.1 * np.abs(measured).max(), name


def test_the_shift_is_the_one_that_samples_show() -> None:
    """Against the mean of ``(W - W_rounded) x`` over the float model's own inputs."""
    model = prepare(normalized_net())
    plain = coarse(quantize(normalized_net(), SAMPLES, QuantizationConfig(**PLAIN)).model)
    corrected = correct_analytically(model, plain)
    inputs = Session(with_outputs(model, ["s", "e"]))
    weight = next(n for n in model.graph if n.outputs[0].name == "e").inputs[1].const_value.numpy()[:, :, 0, 0]
    before, after = (next(x for x in layers_of(m) if x.node.outputs[0].name == "e") for m in (plain, corrected))
    mean = np.mean([inputs.run(s)["s"].mean(axis=(0, 2, 3)) for s in feeds((1, 3, 16, 16), 32, seed=4)()], axis=0)
    expected = (weight - before.weight()[:, :, 0, 0]) @ mean
    biases = [x.initializer(2).const_value.numpy() * x.initializer(2, 1).const_value.numpy() for x in (before, after)]
    found = biases[1] - biases[0]
    assert np.corrcoef(found, expected)[0, 1] > 0.98
    assert np.abs(found - expected).max() < 0.2 * np.abs(expected).max()


def test_means_come_back_without_data_nearly_as_with_it() -> None:
    model, source = prepare(normalized_net()), feeds((1, 3, 16, 16), 32, seed=6)
    plain = coarse(quantize(normalized_net(), SAMPLES, QuantizationConfig(**PLAIN)).model)
    analytic = correct_analytically(model, plain)
    sequential = refine(model, plain, list(SAMPLES()), rounding=False, bias=True)[0]
    exact = np.mean([run_model(model, s)["y"] for s in source()], axis=0)
    gaps = [np.abs(np.mean([run_model(m, s)["y"] for s in source()], axis=0) - exact).sum() for m in (plain, analytic)]
    with_data = np.abs(np.mean([run_model(sequential, s)["y"] for s in source()], axis=0) - exact).sum()
    assert gaps[1] < 0.5 * gaps[0]
    assert with_data < gaps[1], "samples know more"
    assert not float_islands(analytic)


def test_models_without_statistics_are_refused_with_the_remedy() -> None:
    with pytest.raises(QuantizationError, match="BatchNormalization") as caught:
        quantize(cnn(), SAMPLES, QuantizationConfig(bias_correction="analytic"))
    assert "sequential" in str(caught.value.remedy)


def test_equalization_keeps_the_statistics_right() -> None:
    from n6convert.quantization.equalization.equalize import equalize

    model = prepare(normalized_net())
    even, records, _ = equalize(model, list(SAMPLES()), strength=1.0)
    assert records
    session = Session(with_outputs(even, ["r"]))
    measured = np.mean([session.run(s)["r"].mean(axis=(0, 2, 3)) for s in feeds((1, 3, 16, 16), 32)()], axis=0)
    known = {v.name: k for v, k in expectations(even).items()}["r"].mean
    assert np.abs(known - measured).max() < 0.1 * np.abs(measured).max()


@pytest.mark.parametrize(
    ("given", "meant"), [(True, "sequential"), (False, "off"), ("analytic", "analytic"), ("off", "off")]
)
def test_the_recipe_key_takes_words_and_bools(given: object, meant: str) -> None:
    assert QuantizationConfig(bias_correction=given).bias_correction == meant


def test_layers_of_names_what_a_walk_visits() -> None:
    int8 = quantize(cnn(), SAMPLES, QuantizationConfig(**PLAIN)).model
    assert [x.name for x in layers_of(int8)] == [x.name for x in walk_layers(int8, list(SAMPLES())[:1])]
