"""Extents of channels: as numpy computes them from all samples, whatever axes a channel has, and what they cover."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization.equalization.equalize import equalize, judged_axes
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.calibrate import calibrate
from n6convert.quantization.ranges.channel_extents import Extent, Extents, extents

from .nets import feeds
from .test_equalize import clip


@pytest.mark.parametrize(("shape", "alike"), [((1, 3, 4, 5), (0, 2, 3)), ((1, 6, 4), (0, 1)), ((1, 7), (0,))])
def test_extents_are_those_of_all_samples_together(shape: tuple[int, ...], alike: tuple[int, ...]) -> None:
    samples = [np.random.default_rng(seed).standard_normal(shape).astype(np.float32) for seed in range(5)]
    found = Extent.empty(alike)
    for sample in samples:
        found.add(sample)
    whole = np.stack(samples).astype(np.float64)
    axes = (0, *(a + 1 for a in alike))
    assert np.array_equal(found.low.ravel(), np.minimum(whole.min(axis=axes), 0).ravel())
    assert np.array_equal(found.high.ravel(), np.maximum(whole.max(axis=axes), 0).ravel())
    assert found.square.ravel() == pytest.approx(np.square(whole).mean(axis=axes).ravel(), rel=1e-5)


def test_a_tensor_is_covered_once_a_sample_was_seen_with_the_same_axes() -> None:
    known = Extents(x=Extent.empty((0, 2)))
    assert not known.covers("x", (0, 2))
    known["x"].add(np.ones((1, 3, 4), np.float32))
    assert known.covers("x", (0, 2)) and not known.covers("x", (0, 1)) and not known.covers("y", (0, 2))


def test_channels_seen_during_calibration_are_those_of_a_pass_of_their_own() -> None:
    model = prepare(clip())
    source = feeds((1, 3, 8, 8), 6)
    axes = judged_axes(model.graph)
    assert axes
    known = Extents((name, Extent.empty(alike)) for name, alike in axes.items())
    calibrate(model, source, list(axes), channels=known)
    for name, extent in extents(model, axes, source()).items():
        assert np.array_equal(known[name].low, extent.low) and np.array_equal(known[name].square, extent.square)
    even, records, _ = equalize(model, source())
    _, from_known, _ = equalize(model, [], known=known)
    assert records == from_known and even.graph.num_nodes()
