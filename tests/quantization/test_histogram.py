"""Histograms condensed for a picture."""

from __future__ import annotations

import numpy as np

from n6convert.quantization.ranges.histogram import Histogram


def test_the_summary_keeps_every_count_and_the_occupied_range():
    histogram = Histogram()
    values = np.random.default_rng(0).normal(2, 0.5, 5000).astype(np.float32)
    histogram.add(values, float(np.abs(values).max()))
    found = histogram.summary(32)
    assert sum(found["counts"]) == 5000
    assert len(found["counts"]) == 32
    assert found["low"] <= values.min() <= values.max() <= found["high"]
    assert found["high"] - found["low"] <= np.ptp(values) + 2 * histogram.width
    assert Histogram().summary()["counts"] == []
