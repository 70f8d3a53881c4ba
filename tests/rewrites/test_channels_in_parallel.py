"""Groups of channels side by side: equal answers, less predicted time, nothing where groups would save nothing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.npu import estimate
from n6convert.recipe.rewrite import RewriteConfig
from n6convert.rewrites import rewrite

from ..quantization.nets import parse

TARGET = "stm32n6570-dk@4.0"
HARD = "b = HardSwish(a)"
SWISH = "s = Sigmoid(a) b = Mul(s, a)"
CLIP = "b = Clip(a, low, high)"


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + shape[0]).standard_normal(shape).astype(np.float32) / 4


def _net(act: str, channels: int = 32, size: int = 64, tail: str = "y = Conv(d, w3)") -> ir.Model:
    """Expansion, activation, depthwise of stride 2, activation, projection."""
    text = f"""net (float[1,16,{size},{size}] x) => (float[1,8,{size // 2},{size // 2}] y) {{
        a = Conv(x, w1, b1)
        {act}
        c = Conv<group={channels}, kernel_shape=[3,3], pads=[1,1,1,1], strides=[2,2]>(b, w2, b2)
        d = Relu(c)
        {tail}
    }}"""
    return parse(
        text, opset=17, w1=_weights(channels, 16, 1, 1), b1=_weights(channels), w2=_weights(channels, 1, 3, 3),
        b2=_weights(channels), w3=_weights(8, channels, 1, 1), low=np.float32(0), high=np.float32(6),
    )  # fmt: skip


def _rewritten(model: ir.Model) -> tuple[ir.Model, float, float]:
    result = rewrite(model, None, RewriteConfig(rules=["channels-in-parallel"]), target=TARGET)
    assert result.difference < 1e-5
    before, after = (
        estimate(m, TARGET, assume_quantized=True).costs.latency.milliseconds for m in (model, result.model)
    )
    return result.model, before, after


@pytest.mark.parametrize("act", [HARD, SWISH, CLIP])
def test_expansion_and_depthwise_convolution_in_groups(act: str) -> None:
    model, before, after = _rewritten(_net(act, 32, 112))
    kinds = [n.op_type for n in model.graph]
    groups = [n.attributes["group"].as_int() for n in model.graph if n.op_type == "Conv" and "group" in n.attributes]
    assert kinds.count("Conv") == 2 * len(groups) + 1 and len(groups) in (2, 4) and sum(groups) == 32
    assert kinds.count("Concat") == 1 and after < 0.75 * before


def test_its_result_is_left_as_it_is() -> None:
    once, _, _ = _rewritten(_net(HARD, 32, 112))
    again, before, after = _rewritten(once)
    assert again.graph.num_nodes() == once.graph.num_nodes() and after == before


def test_small_maps_and_shared_results_are_left() -> None:
    for model in (_net(HARD, 32, 16), _net(HARD, 32, 112, "e = Add(d, c) y = Conv(e, w3)")):
        result = rewrite(model, None, RewriteConfig(rules=["channels-in-parallel"]), target=TARGET)
        assert all(n.outputs[0].shape[1] in (8, 32) for n in result.model.graph if n.op_type == "Relu")


def test_a_large_depthwise_kernel_is_cut_in_front() -> None:
    text = """net (float[1,64,32,32] x) => (float[1,8,32,32] y) {
        a = Conv<group=64, kernel_shape=[5,5], pads=[2,2,2,2]>(x, w)
        y = Conv(a, p)
    }"""
    model, before, after = _rewritten(parse(text, opset=17, w=_weights(64, 1, 5, 5), p=_weights(8, 64, 1, 1)))
    assert [n.op_type for n in model.graph] == ["Split", "Conv", "Conv", "Concat", "Conv"] and after < before


def test_without_a_predictor_nothing_is_done() -> None:
    result = rewrite(_net(HARD, 32, 112), None, RewriteConfig(rules=["channels-in-parallel"]))
    assert not result.applied
