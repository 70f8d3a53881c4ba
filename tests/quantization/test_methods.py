"""Equalization, bias correction, rounding, zero points, masks: each against what it promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.equalization.equalize import equalize
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.methods import METHODS
from n6convert.quantization.prepare.attention_masks import clamp_masks
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.file import save_ranges
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

from .nets import cnn, feeds, parse
from .walk import float_islands

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def weights(seed: int, *shape: int) -> np.ndarray:
    return (rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def uneven_net() -> ir.Model:
    """Channels of very different size between layers: Conv-PRelu-depthwise-Relu-Conv, a residual sum, ConvTranspose."""
    size = np.geomspace(0.05, 20, 8).astype(np.float32)
    body = """
    net (float[1,3,12,12] x) => (float[1,4,24,24] y) {
      a = Conv<pads=[1,1,1,1]>(x, w1, b1)
      p = PRelu(a, slope)
      d = Conv<pads=[1,1,1,1], group=8>(p, w2, b2)
      r = Relu(d)
      e = Conv(r, w3, b3)
      f = Conv(e, w4, b4)
      s = Add(e, f)
      y = ConvTranspose<strides=[2,2]>(s, w5, b5)
    }"""
    w1 = weights(1, 8, 3, 3, 3) * size[:, None, None, None]
    w3 = weights(3, 8, 8, 1, 1) * size[:, None, None, None] / size[None, :, None, None]
    w4 = weights(4, 8, 8, 1, 1) * size[:, None, None, None] / size[None, :, None, None]
    w5 = weights(5, 8, 4, 2, 2) / size[:, None, None, None]
    slope = np.full((8, 1, 1), 0.25, np.float32)
    values = {"w1": w1, "w2": weights(2, 8, 1, 3, 3), "w3": w3, "w4": w4, "w5": w5, "slope": slope}
    biases = {f"b{i + 1}": weights(10 + i, n, 1)[:, 0] * 0.01 for i, n in enumerate((8, 8, 8, 8, 4))}
    return parse(body, **values, **biases)


def test_equalization_is_exact_in_float_and_evens_channels_out() -> None:
    model, source = prepare(uneven_net()), feeds((1, 3, 12, 12))
    even, records, _ = equalize(model, list(source()))
    assert len(records) >= 3
    sample = next(iter(feeds((1, 3, 12, 12), seed=5)()))
    before, after = run_model(model, sample)["y"], run_model(even, sample)["y"]
    assert max_relative_difference(before, after) < 1e-5


def test_equalization_helps_where_channels_are_uneven() -> None:
    source, held_back = feeds((1, 3, 12, 12), 8), feeds((1, 3, 12, 12), 4, seed=7)
    result = quantize(uneven_net(), source, PLAIN.model_copy(update={"equalization": True}), held_back=held_back)
    plain, even = (m for m in result.facts["methods"] if m["method"] in ("ranges: minmax", "equalization"))
    assert even["method"] == "equalization" and even["kept"]
    assert even["sqnr_db"] > plain["sqnr_db"] + 3


def test_grouped_and_linear_layers_equalize_exactly() -> None:
    body = """
    net (float[1,4,6,6] x) => (float[1,5] y) {
      a = Conv<group=2>(x, w1, b1)
      r = Relu(a)
      c = Conv<group=2>(r, w2, b2)
      q = Relu(c)
      g = GlobalAveragePool(q)
      f = Flatten(g)
      y = Gemm<transB=1>(f, w3, b3)
    }"""
    size = np.geomspace(0.1, 10, 8).astype(np.float32)
    values = {
        "w1": weights(1, 8, 2, 1, 1) * size[:, None, None, None],
        "w2": weights(2, 8, 4, 1, 1),
        "w3": weights(3, 5, 8),
    }
    values["w2"] *= size[:, None, None, None]
    model = prepare(parse(body, **values, b1=np.zeros(8, "f4"), b2=np.zeros(8, "f4"), b3=np.zeros(5, "f4")))
    even, records, _ = equalize(model, list(feeds((1, 4, 6, 6))()))
    assert len(records) == 2
    sample = next(iter(feeds((1, 4, 6, 6), seed=3)()))
    assert max_relative_difference(run_model(model, sample)["y"], run_model(even, sample)["y"]) < 1e-5


@pytest.mark.parametrize("attributes", ["pads=[1,1,1,1]", "strides=[2,2], pads=[0,1,1,0]", "dilations=[2,2], group=2"])
def test_second_moments_reproduce_the_layers_energy(attributes: str) -> None:
    """``sum(y^2) = w H w^T`` for a convolution without bias, whatever its geometry."""
    from n6convert.quantization.layerwise.rounding import second_moments
    from n6convert.quantization.layerwise.walk import walk_layers

    groups = 2 if "group" in attributes else 1
    body = f"net (float[1,4,9,9] x) => (float[1,6,n,m] y) {{ y = Conv<{attributes}>(x, w) }}"
    model = parse(body, w=weights(1, 6, 4 // groups, 3, 3))
    samples = list(feeds((1, 4, 9, 9), 3)())
    int8 = quantize(model, feeds((1, 4, 9, 9), 3), PLAIN).model
    layer = next(walk_layers(int8, samples))
    codes, scales = (layer.initializer(1, part).const_value.numpy() for part in (0, 1))
    rows = (codes * scales[:, None, None, None]).reshape(6, -1)
    step = float(layer.initializer(0, 1).const_value.numpy())
    moments = [m * step**2 for m in second_moments(layer, rows.shape[1], groups)]
    energy = np.concatenate(
        [np.einsum("oi,ij,oj->o", r, h, r) for r, h in zip(np.split(rows, groups), moments, strict=True)]
    )
    expected = sum((y.astype(np.float64) ** 2).sum(axis=(0, 2, 3)) for y in layer.outputs())
    np.testing.assert_allclose(energy, expected, rtol=1e-4)


def test_rounding_is_never_worse_than_nearest_on_held_back_samples() -> None:
    held_back = feeds((1, 3, 16, 16), 6, seed=8)
    for seed in range(3):
        scores = [
            Evaluator(prepare(cnn(seed)), list(held_back())).score(
                quantize(
                    cnn(seed), feeds((1, 3, 16, 16), 4), PLAIN.model_copy(update={"rounding": kind}),
                    held_back=held_back,
                ).model
            )
            for kind in ("nearest", "second-order")
        ]  # fmt: skip
        assert scores[1] >= scores[0]


def test_methods_stop_once_the_model_is_good_enough() -> None:
    asked: list[dict[str, float]] = []

    def enough(model: ir.Model, sqnr: dict[str, float]) -> bool:
        asked.append(dict(sqnr))
        return len(asked) == 3

    source, held_back = feeds((1, 3, 16, 16)), feeds((1, 3, 16, 16), 4, seed=7)
    config = QuantizationConfig(merge_convolutions=False)
    facts = quantize(cnn(), source, config, held_back=held_back, accepted=enough).facts
    tried = [m["method"] for m in facts["methods"]]
    names = [m.name for m in METHODS if m.wanted(config)]
    assert set(tried[1:]) <= set(names[:2]) and facts["methods_not_needed"] == names[2:]
    assert asked and set(asked[0]) == {"y", "up"}
    everything = quantize(cnn(), source, QuantizationConfig(), held_back=held_back).facts
    assert everything["methods_not_needed"] == []


def test_the_list_of_methods_is_in_order_of_cost() -> None:
    assert [m.cost for m in METHODS] == sorted(m.cost for m in METHODS)
    assert len({m.name for m in METHODS}) == len(METHODS)


def test_bias_correction_brings_means_behind_the_functions_back() -> None:
    from n6convert.quantization.layerwise.bias_correction import channel_means
    from n6convert.quantization.layerwise.refine import refine
    from n6convert.quantization.layerwise.walk import walk_layers

    model, samples = prepare(cnn()), list(feeds((1, 3, 16, 16), 32)())
    int8 = quantize(cnn(), feeds((1, 3, 16, 16), 32), PLAIN).model
    wanted = channel_means(model, samples)

    def shift(candidate: ir.Model) -> float:
        total = 0.0
        for layer in walk_layers(candidate, samples):
            target = wanted[layer.name]
            values = [target.functions(v)[0] for v in layer.outputs()]
            axis = 1 if values[0].ndim == 4 else values[0].ndim - 1
            others = tuple(i for i in range(values[0].ndim) if i != axis)
            means = np.mean([v.mean(axis=others) for v in values], axis=0)
            total += float(np.abs(means - target.means[:, 0].mean(axis=0)).sum())
        return total

    corrected = refine(model, int8, samples, rounding=False, bias=True)[0]
    assert shift(corrected) < 0.25 * shift(int8)
    assert float_islands(corrected) == []


def test_bias_correction_leaves_alone_what_a_clip_forgets(tmp_path: Path) -> None:
    """A saturated background moves the mean before the Clip by 19, and nothing behind it."""
    from n6convert.quantization.layerwise.refine import refine

    model = parse(
        """net (float[1,1,32,32] x) => (float[1,1,32,32] y) {
          low = Constant<value_float=-7.0>() high = Constant<value_float=5.0>()
          a = Conv(x, w, b) y = Clip(a, low, high) }""",
        w=np.ones((1, 1, 1, 1), np.float32),
        b=np.zeros(1, np.float32),
    )
    samples = []
    for seed in range(8):
        logits = np.full((1, 1, 32, 32), -30, np.float32)
        logits[..., :3, :] = rng(seed).uniform(-6, 4, (3, 32))
        samples.append({"x": logits})
    save_ranges({"x": (-11.0, 5.0)}, tmp_path / "ranges.json")
    config = PLAIN.model_copy(update={"ranges_file": str(tmp_path / "ranges.json")})
    int8 = quantize(model, lambda: iter(samples), config).model
    corrected = refine(prepare(model), int8, samples, rounding=False, bias=True)[0]
    for sample in samples:
        found = run_model(corrected, sample)["y"]
        assert np.abs(found - sample["x"].clip(-7, 5)).max() < 0.1


def test_bias_correction_does_not_learn_accidents() -> None:
    from n6convert.quantization.layerwise.bias_correction import _shrunk

    gaps = rng(0).standard_normal((8, 1, 500))
    assert np.abs(_shrunk(gaps)).sum() < 0.5 * np.abs(gaps.mean(axis=0)).sum()
    assert np.allclose(_shrunk(gaps * 0.01 + 1.0), 1.0, atol=0.02)
    assert np.array_equal(_shrunk(gaps[:1]), gaps[0])


def test_speed_policy_gives_every_convolution_a_cheap_zero_point() -> None:
    source = feeds((1, 3, 16, 16))
    config = PLAIN.model_copy(update={"ranges": "mse", "zero_points": "speed"})
    asked: list[str] = []

    def cycles(model: ir.Model) -> dict[str, float]:
        names = [n.inputs[0].name for n in model.graph if n.op_type in ("Conv", "Gemm")]
        asked.extend(names)
        return dict.fromkeys(names, 100.0)

    result = quantize(cnn(), source, config, cheap_zero_points=cycles)
    assert asked
    for node in result.model.graph:
        if node.op_type in ("Conv", "Gemm"):
            zero = node.inputs[0].producer().inputs[2].const_value
            assert int(zero.numpy()) in (-128, 0), node.name
    taken = [r for r in result.facts["zero_points"]["tensors"] if r["taken"]]
    assert taken and all(r["saved"] == 100.0 for r in taken)


def test_accuracy_policy_gives_no_error_away() -> None:
    config = PLAIN.model_copy(update={"ranges": "mse", "zero_points": "accuracy"})
    result = quantize(cnn(), feeds((1, 3, 16, 16)), config)
    for record in result.facts["zero_points"]["tensors"]:
        if record["taken"]:
            assert record["cheap_sqnr_db"] >= record["sqnr_db"] - 0.05


def attention(mask: float) -> ir.Model:
    body = """
    net (float[1,8,8] x, int64[1,1,8] keep) => (float[1,8,8] y) {
      one = Constant<value_float=1.0>()
      f = Cast<to=1>(keep)
      hide = Sub(one, f)
      big = Mul(hide, huge)
      t = Transpose<perm=[0,2,1]>(x)
      s = MatMul(x, t)
      m = Add(s, big)
      p = Softmax(m)
      y = MatMul(p, x)
    }"""
    return parse(body, huge=np.array(mask, np.float32))


def attention_feeds():
    for sample in feeds((1, 8, 8), 4)():
        yield sample | {"keep": np.array([[[1] * 5 + [0] * 3]], np.int64)}


@pytest.mark.parametrize("mask", [-3.4028235e38, -1e9])
def test_huge_mask_constants_do_not_eat_the_grid(mask: float) -> None:
    result = quantize(attention(mask), attention_feeds, QuantizationConfig())
    assert result.facts["clamped_masks"] == ["huge"]
    assert min(result.facts["outputs_sqnr_db"].values()) > 20
    plain = quantize(attention(-40.0), attention_feeds, QuantizationConfig())
    assert plain.facts["clamped_masks"] == []


def test_clamping_a_mask_is_exact_after_the_softmax() -> None:
    model = prepare(attention(-3.4028235e38))
    sample = next(attention_feeds())
    before = run_model(model, sample)["y"]
    clamp_masks(model, [sample])
    assert max_relative_difference(before, run_model(model, sample)["y"]) < 1e-6


def test_a_causal_mask_with_a_bias_of_positions_in_front_of_a_softmax_in_steps() -> None:
    """Rewrites leave the mask as one constant with the bias, and the softmax as Exp of differences."""
    body = """
    net (float[1,8,8] x) => (float[1,8,8] y) {
      t = Transpose<perm=[0,2,1]>(x)
      s = MatMul(x, t)
      m = Add(s, mask)
      r = Reshape(m, same)
      top = GlobalMaxPool(r)
      d = Sub(r, top)
      e = Exp(d)
      n = GlobalAveragePool(e)
      p = Div(e, n)
      y = MatMul(p, x)
    }"""
    hidden = np.where(np.tril(np.ones((8, 8))) > 0, np.random.default_rng(0).normal(0, 1, (8, 8)), -1e9)
    model = parse(body, mask=hidden[None].astype(np.float32), same=np.array([1, 8, 8]))
    result = quantize(model, feeds((1, 8, 8), 8))
    assert result.facts["clamped_masks"] == ["mask"]
    assert min(result.facts["outputs_sqnr_db"].values()) > 20
    prepared, sample = prepare(model), next(iter(feeds((1, 8, 8))()))
    before = run_model(prepared, sample)["y"]
    clamp_masks(prepared, [sample])
    assert max_relative_difference(before, run_model(prepared, sample)["y"]) < 1e-6


def test_layer_norm_operator_is_quantized_step_by_step() -> None:
    body = "net (float[1,6,16] x) => (float[1,6,16] y) { y = LayerNormalization<axis=-1>(x, g, b) }"
    model = parse(body, 17, g=weights(1, 16, 1)[:, 0] + 1, b=weights(2, 16, 1)[:, 0])
    result = quantize(model, feeds((1, 6, 16), 8))
    assert float_islands(result.model) == []
    assert "LayerNormalization" not in {n.op_type for n in result.model.graph}
    assert result.facts["outputs_sqnr_db"]["y"] > 20


def test_linear_layers_get_an_int32_bias() -> None:
    body = "net (float[1,6,16] x) => (float[1,6,8] y) { p = MatMul(x, w) y = Add(b, p) }"
    model = parse(body, w=weights(1, 16, 8), b=weights(2, 8, 1)[:, 0])
    result = quantize(model, feeds((1, 6, 16)))
    gemm = next(n for n in result.model.graph if n.op_type == "Gemm")
    assert gemm.inputs[2].producer().inputs[0].const_value.dtype == ir.DataType.INT32
    assert float_islands(result.model) == []


def test_functions_are_found_behind_operators_that_only_move() -> None:
    """A convolution cut in parts is looked at where the whole one is: behind the Concat's Swish."""
    from n6convert.quantization.ranges.consumers import consumer_error_map, consumer_functions

    model = prepare(
        parse(
            """net (float[1,3,8,8] x) => (float[1,8,8,8] y) { a = Conv(x, w1) b = Conv(x, w2)
            c = Concat<axis=1>(a, b) s = Sigmoid(c) y = Mul(c, s) }""",
            w1=weights(0, 4, 3, 1, 1),
            w2=weights(1, 4, 3, 1, 1),
        )
    )
    part = next(v for n in model.graph for v in n.outputs if v.name == "a")
    values = np.linspace(-6, 6, 64, dtype=np.float32).reshape(1, 4, 4, 4)
    (found,) = consumer_functions(model, part)(values)
    np.testing.assert_allclose(found, values / (1 + np.exp(-values)), atol=1e-5)
    assert consumer_error_map(model, part) is not None
