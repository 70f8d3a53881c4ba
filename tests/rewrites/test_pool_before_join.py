"""Parts of a map are pooled, then joined: equal answers, less predicted time."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.npu import estimate
from n6convert.recipe.rewrite import RewriteConfig
from n6convert.rewrites import rewrite

from ..quantization.nets import parse

TARGET = "stm32n6570-dk@4.0"


def _weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape) + shape[0]).standard_normal(shape).astype(np.float32) / 4


def _net(body: str, outputs: int = 1024) -> ir.Model:
    text = f"""net (float[1,128,7,7] x) => (float[1,10,1,1] z) {{
        {body}
        z = Conv(y, last)
    }}"""
    half = outputs // 2
    return parse(
        text, opset=17, w=_weights(outputs, 128, 1, 1), a=_weights(half, 128, 1, 1), b=_weights(half, 128, 1, 1),
        last=_weights(10, outputs, 1, 1), low=np.float32(0), high=np.float32(6),
    )  # fmt: skip


JOINED = "c = Conv(x, a) d = Conv(x, b) j = Concat<axis=1>(c, d)"


def _rewritten(model: ir.Model, *rules: str) -> tuple[ir.Model, float]:
    result = rewrite(model, None, RewriteConfig(rules=list(rules)), target=TARGET)
    assert result.difference < 1e-5
    return result.model, estimate(result.model, TARGET, assume_quantized=True).costs.latency.milliseconds


def _inputs_of_concat(model: ir.Model) -> list[str]:
    join = next(n for n in model.graph if n.op_type == "Concat")
    return [v.producer().op_type for v in join.inputs]  # type: ignore[union-attr]


@pytest.mark.parametrize("act", ["h = HardSwish(j)", "h = Clip(j, low, high)", "r = Relu(j) h = HardSwish(r)"])
@pytest.mark.parametrize("pool", ["GlobalAveragePool", "GlobalMaxPool"])
def test_functions_and_pool_move_in_front_of_the_join(act: str, pool: str) -> None:
    model, after = _rewritten(_net(f"{JOINED} {act} y = {pool}(h)"), "pool-before-join")
    assert _inputs_of_concat(model) == [pool, pool]
    assert after < _rewritten(_net(f"{JOINED} {act} y = {pool}(h)"), "merge-layout")[1]


@pytest.mark.parametrize("body", [
    f"{JOINED} p = GlobalAveragePool(j) y = Mul(j, p)",  # the map is read as well
    "c = Conv(x, a) d = Relu(c) j = Concat<axis=1>(c, d) y = GlobalAveragePool(j)",  # no convolution's epoch to join
    "c = Conv(x, w) d = Conv(x, w) j = Concat<axis=2>(c, d) y = GlobalAveragePool(j)",  # one mean of both
])  # fmt: skip
def test_other_joins_stay(body: str) -> None:
    model = parse(
        f"net (float[1,64,7,7] x) => (float[] y) {{ {body} }}", opset=17, w=_weights(1024, 64, 1, 1),
        a=_weights(512, 64, 1, 1), b=_weights(512, 64, 1, 1),
    )  # fmt: skip
    before = [n.op_type for n in model.graph]
    assert [n.op_type for n in _rewritten(model, "pool-before-join")[0].graph] == before
