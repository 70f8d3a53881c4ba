"""Ranges without clipping: kept where clipping costs more than it brings."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.methods.minmax_ranges import METHOD

from .nets import parse, record

PLAIN = QuantizationConfig(equalization=False, bias_correction="off", rounding="nearest")
MODEL = parse("net (float[1,64,8,8] x) => (float[1,64,8,8] y) { y = Relu(x) }")


def samples(outliers: float, count: int = 8, seed: int = 0) -> list[dict[str, np.ndarray]]:
    """Even values, of which a share is 100 times as large."""
    random = np.random.default_rng(seed)
    shape = (count, 1, 64, 8, 8)
    values = random.uniform(-1, 1, shape) * np.where(random.random(shape) < outliers, 100, 1)
    return [{"x": v} for v in values.astype(np.float32)]


@pytest.mark.parametrize("clipped", [60.0, 90.0])
def test_it_helps_where_ranges_leave_much_out(clipped: float) -> None:
    config = PLAIN.model_copy(update={"ranges": "percentile", "percentile": clipped})
    given = samples(0)
    result = quantize(MODEL, lambda: iter(given), config, held_back=lambda: iter(samples(0, 4, 7)))
    found, before = record(result, METHOD.name), result.facts["methods"][0]
    assert found is not None and found["kept"] and found["sqnr_db"] > before["sqnr_db"] + 10
    low, high = result.ranges["x"]
    assert abs(low) < 1e-2 and high == max(s["x"].max() for s in given)  # below 0 the Relu makes one value of all


def test_it_is_refused_where_a_few_values_take_the_grid() -> None:
    """Calibrated with an outlier that the network leaves out, judged on samples without: a step 90 times as wide."""
    keep = np.ones((1, 64, 8, 8), np.float32)
    keep[0, 0, 0, 0] = 0.0
    model = parse("net (float[1,64,8,8] x) => (float[1,64,8,8] y) { y = Mul(x, keep) }", keep=keep)
    given, others = samples(0, 16), samples(0, 4, 7)
    given[3]["x"][0, 0, 0, 0] = 90.0
    config = PLAIN.model_copy(update={"ranges": "percentile", "percentile": 99.0})
    result = quantize(model, lambda: iter(given), config, held_back=lambda: iter(others))
    found, before = record(result, METHOD.name), result.facts["methods"][0]
    assert found is not None and not found["kept"] and found["sqnr_db"] < before["sqnr_db"] - 10
    assert result.ranges["x"][1] < 2


def test_ranges_that_are_not_clipped_leave_nothing_to_try() -> None:
    result = quantize(MODEL, lambda: iter(samples(0)), PLAIN.model_copy(update={"ranges": "minmax"}))
    assert [m["method"] for m in result.facts["methods"]] == ["ranges: minmax"]
