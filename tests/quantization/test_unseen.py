"""Ranges that hold what other samples of the same kind will reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.quantization.ranges.estimators import Range, reaching_range
from n6convert.quantization.ranges.histogram import Histogram
from n6convert.quantization.ranges.unseen import Extremes


def seen(samples: Any, **given: Any) -> Statistics:
    statistics = Statistics(histogram=Histogram(), **given)
    for sample in samples:
        assert statistics.add(np.asarray(sample, np.float32))
    return statistics


def whole(statistics: Statistics) -> Range:
    return reaching_range(statistics, statistics.tail(), clip=False)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 200))
def test_the_scale_is_the_mean_excess_over_the_best_samples_at_hand(seed: int, count: int) -> None:
    values = np.random.default_rng(seed).lognormal(0, 1, count)
    extremes = Extremes()
    for value in values:
        extremes.add(float(value))
    used = min(count // 4, 8)
    ordered = np.sort(values)[::-1]
    wanted = float(np.mean(ordered[:used] - ordered[used]))
    assert extremes.scale() == pytest.approx(wanted, rel=0.02, abs=0.01 * float(ordered[0]))


def test_a_pooled_vector_has_less_error_on_other_samples_and_a_large_map_keeps_its_steps() -> None:
    rng = np.random.default_rng(0)
    pooled = rng.normal(0, 1, (20000, 16)) * rng.lognormal(0, 0.6, 16)
    errors = []
    for trial in range(200):
        found = seen(pooled[trial * 32 : trial * 32 + 32])
        for span in ((found.low, found.high), reaching_range(found, found.tail(), clip=True), whole(found)):
            gaps = Grid.from_range(*span).round(pooled[10000:].astype(np.float32)) - pooled[10000:]
            errors.append(float(np.mean(gaps**2)))
    seen_only, clipped, unclipped = np.array(errors).reshape(-1, 3).mean(axis=0)
    assert clipped < 0.3 * seen_only and unclipped < 0.3 * seen_only
    maps = seen(rng.normal(0, 1, (32, 100_000)))
    assert np.ptp(whole(maps)) < 1.04 * (maps.high - maps.low)


def test_what_is_bounded_or_of_one_sign_stays_so() -> None:
    rng = np.random.default_rng(1)
    relu = seen(np.maximum(rng.normal(0, 1, (32, 16)), 0))
    assert whole(relu)[0] == 0.0 and whole(relu)[1] > relu.high
    clipped = seen(np.clip(rng.normal(0, 2, (32, 16)), -6, 3), bounds=(-6.0, 3.0))
    assert clipped.high == 3.0 and whole(clipped)[1] == 3.0 and whole(clipped)[0] >= -6.0
    sound = seen(np.clip(rng.normal(0, 1, (32, 16)) * rng.lognormal(0, 0.2, (32, 1)), -1.5, 1.5))
    assert whole(sound) == (-1.5, 1.5)
    assert whole(seen(rng.normal(0, 1, (2, 16)))) == pytest.approx((-1.9, 1.9), abs=1.0)
