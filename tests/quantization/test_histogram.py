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


def test_counts_of_samples_are_those_of_all_values_at_once_whatever_their_order():
    parts = [np.linspace(-0.4, 0.4, 7, dtype=np.float32), np.array([-3, 4, 4, -4], np.float32), np.zeros(5, np.float32)]
    joined = np.concatenate(parts)
    whole = Histogram(half=8)
    whole.add(joined, 4.0)
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2]):
        found = Histogram(half=8)
        for index in order:
            found.add(parts[index], float(np.abs(parts[index]).max()))
        assert found.span == whole.span == 4.0 and found.counts.tolist() == whole.counts.tolist()
    assert whole.counts[0] == 1 and whole.counts[-1] == 2 and whole.counts.sum() == joined.size


def test_values_hardly_beyond_a_rounded_span_are_in_the_outer_bins():
    beyond = np.nextafter(np.float32(4), np.float32(5))
    found = Histogram(half=8)
    found.add(np.array([-beyond, beyond], np.float32), float(beyond))
    assert found.span == 4.0 and found.counts[0] == found.counts[-1] == 1
