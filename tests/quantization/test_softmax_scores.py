"""Ranges of attention scores: cut where no softmax reads them, and only there."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.stable import rounded
from n6convert.runtime.session import run_model

from .nets import parse

ROWS, PLACES = 8, 32
CONFIG = QuantizationConfig(equalization=False, bias_correction="off", rounding="nearest")


def steps(reader: str = "") -> ir.Model:
    """Softmax in steps, with a mask input that hides places."""
    more = ", float[1,8,32] other" if reader else ""
    body = f"""
    net (float[1,{ROWS},{PLACES}] s, float[1,1,{PLACES}] mask) => (float[1,{ROWS},{PLACES}] p{more}) {{
      x = Add(s, mask)
      m = GlobalMaxPool(x)
      d = Sub(x, m)
      b = Clip(d, low)
      e = Exp(b)
      t = GlobalAveragePool(e)
      p = Div(e, t)
      {reader}
    }}"""
    return parse(body, opset=13, low=np.float32(-14))


def samples(count: int = 8, seed: int = 0) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    mask = np.zeros((1, 1, PLACES), np.float32)
    mask[..., 24:] = -60
    return [{"s": rng.standard_normal((1, ROWS, PLACES)).astype(np.float32), "mask": mask} for _ in range(count)]


def ranges_of(model: ir.Model) -> dict[str, tuple[float, float]]:
    return quantize(model, lambda: iter(samples()), CONFIG).ranges


def test_hidden_places_take_no_codes_and_change_nothing() -> None:
    result = quantize(steps(), lambda: iter(samples()), CONFIG)
    least_maximum = min(float(s["s"][..., :24].max(-1).min()) for s in samples())
    assert result.ranges["x"][0] == pytest.approx(float(rounded(least_maximum)) - 8.8, abs=1e-5)
    assert -8 <= result.ranges["b"][0] < -5
    whole = quantize(steps(), lambda: iter(samples()), CONFIG.model_copy(update={"ranges": "minmax"}))
    for sample in samples(2, seed=4):
        exact, cut, wide = (run_model(m, sample)["p"] for m in (steps(), result.model, whole.model))
        assert (cut[..., 24:] == 0).all()
        assert np.square(exact - cut).mean() < np.square(exact - wide).mean() / 2


@pytest.mark.parametrize("reader", ["other = Neg(x)", "other = Relu(d)"])
def test_scores_and_differences_that_something_else_reads_keep_their_range(reader: str) -> None:
    assert ranges_of(steps(reader))["x"][0] < -40
