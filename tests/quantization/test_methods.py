"""Equalization, bias correction, rounding, zero points, masks: each against what it promises."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.methods import METHODS
from n6convert.quantization.prepare.attention_masks import clamp_masks
from n6convert.quantization.prepare.prepare import prepare
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

from .nets import cnn, feeds, parse
from .walk import float_islands

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def weights(seed: int, *shape: int) -> np.ndarray:
    return (rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


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
            assert record["cheap_sqnr_db"] >= min(record["sqnr_db"] - 0.05, 45.0)


@pytest.mark.parametrize(("spread", "cheap"), [("even", True), ("long tail", False)])
def test_accuracy_policy_lets_go_of_errors_that_are_no_concern(spread: str, cheap: bool) -> None:
    """Normalized pixels fill a grid around zero and keep 46 dB; a long tail that loses as much has few to lose."""
    draw = np.random.default_rng(3)
    even = [draw.uniform(-2.1, 2.6, (1, 3, 16, 16)).astype(np.float32) for _ in range(6)]
    samples = even if spread == "even" else [np.sign(x) * np.abs(x) ** 6 for x in even]
    config = PLAIN.model_copy(update={"ranges": "mse", "zero_points": "accuracy"})
    result = quantize(cnn(), lambda: ({"x": x} for x in samples), config)
    grid = next(t for t in result.facts["tensors"] if t["name"] == "x")
    assert (grid["zero_point"] == 0) == cheap and grid["zero_point"] != -128


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
