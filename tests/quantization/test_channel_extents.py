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

SHAPES = [((1, 3, 4, 5), (0, 2, 3)), ((1, 6, 4), (0, 1)), ((1, 7), (0,)), ((1, 5, 40, 30), (0,)), ((1, 9, 8, 20), ())]


@pytest.mark.parametrize(("shape", "alike"), SHAPES)
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


@pytest.mark.parametrize(("shape", "alike"), SHAPES)
def test_divided_channels_are_those_of_the_divided_tensor(shape: tuple[int, ...], alike: tuple[int, ...]) -> None:
    """Divided twice, of the samples that are kept; these are held once, and channels of one value as one array."""
    random = np.random.default_rng(0)
    samples = random.standard_normal((5, *shape)).astype(np.float32)
    factors = random.uniform(0.5, 2, [1 if i in alike else d for i, d in enumerate(shape)])
    seen, wanted = Extent.empty(alike, keeps=True), Extent.empty(alike, keeps=True)
    for sample in samples:
        seen.add(sample)
        wanted.add((sample / (factors * factors)).astype(np.float32))
    assert seen.takes(factors)
    found = seen.divided(factors).divided(factors)
    assert found.samples is seen.samples and all((s.low is s.high) == (factors.shape == shape) for s in seen.samples)
    for name in ("low", "high", "square"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), rtol=1e-5, atol=1e-12)
    for one, other in zip(found.kept(), wanted.kept(), strict=True):
        for name in ("low", "high", "some", "places"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5)


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
