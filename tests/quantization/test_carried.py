"""Ranges of a network in another form: told by what was seen of the first one, as close as a pass over the samples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from n6convert.errors import QuantizationError
from n6convert.quantization.equalization.equalize import equalize, judged_axes
from n6convert.quantization.grid.from_ranges import observed
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.calibrate import Statistics, calibrate
from n6convert.quantization.ranges.carried import carried, completed, still_true
from n6convert.quantization.ranges.channel_extents import Extent, Extents
from n6convert.quantization.ranges.find import find_ranges
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.types import Feeds

from .nets import feeds
from .test_equalize import clip

CONFIG = QuantizationConfig()
SAMPLES = feeds((1, 3, 8, 8), 6)
FEW = list(SAMPLES())[:2]


@pytest.mark.parametrize(
    ("shape", "alike"), [((1, 3, 4, 5), (0, 2, 3)), ((1, 6, 4), (0, 1)), ((1, 4, 40, 40), (0, 2, 3))]
)
def test_statistics_behind_factors_are_those_of_the_divided_values(
    shape: tuple[int, ...], alike: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    samples = [rng.standard_normal(shape).astype(np.float32) for _ in range(5)]
    factors = np.exp2(rng.integers(-3, 4, [1 if i in alike else d for i, d in enumerate(shape)])).astype(np.float64)
    kept, plain = Extent.empty(alike, keeps=True), Statistics()
    for sample in samples:
        kept.add(sample)
        plain.add((sample / factors).astype(np.float32))
    plain.settle()
    assert kept.takes(factors)
    found = Statistics.of(kept.divided(factors))
    for name in ("low", "high", "moving_low", "moving_high", "quietest", "values_per_sample"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-6), name
    assert found.histogram is not None
    assert found.histogram.counts.sum() == min(1024, np.prod(shape)) * len(samples)


def test_samples_that_were_not_all_kept_tell_nothing() -> None:
    kept = Extent.empty((0,), keeps=True)
    kept.add(np.ones((1, 3), np.float32))
    assert kept.takes(np.full((1, 3), 2.0)) and not kept.takes(np.full((2, 3), 2.0))
    kept.samples.clear()
    assert not kept.takes(np.full((1, 3), 2.0))


def test_ranges_of_even_channels_need_no_samples() -> None:
    model = prepare(clip())
    known = Extents((n, Extent.empty(a, keeps=True)) for n, a in judged_axes(model.graph).items())
    before = find_ranges(model, SAMPLES, FEW, CONFIG, None, known)
    even = equalize(model, [], known=before.channels)
    assert even.factors
    found, looked = carried(even.model, before, even.factors, lambda: iter(()), FEW, CONFIG)
    assert not looked
    again = find_ranges(even.model, SAMPLES, FEW, CONFIG, None)
    assert found.ranges.keys() == again.ranges.keys()
    for name, span in again.ranges.items():
        assert found.ranges[name] == pytest.approx(span, rel=0.05, abs=0.02 * max(map(abs, span)))


def test_what_is_not_known_yet_is_looked_at_in_one_pass_channels_and_all() -> None:
    model = prepare(clip())
    empty = Extents((n, Extent.empty(a, keeps=True)) for n, a in judged_axes(model.graph).items())
    before = find_ranges(model, SAMPLES, FEW, CONFIG, None, Extents())
    kept = next(n for n in before.statistics if n not in empty)
    nothing = replace(before, statistics={kept: before.statistics[kept]}, channels=Extents())
    passes = []

    def counted() -> Iterator[Feeds]:
        passes.append(1)
        return iter(SAMPLES())

    found = completed(model, nothing, empty, counted, CONFIG)
    assert len(passes) == 1
    assert found.statistics[kept] is before.statistics[kept]
    assert set(found.channels) == set(judged_axes(model.graph))
    assert completed(model, found, empty, counted, CONFIG) is found and len(passes) == 1
    again, looked = carried(model, found, {}, counted, FEW, CONFIG)
    assert not looked and again.ranges.keys() == before.ranges.keys()
    for name, span in before.ranges.items():
        assert again.ranges[name] == pytest.approx(span, rel=0.05, abs=0.02 * max(map(abs, span)))


def test_a_value_that_is_not_finite_is_refused_where_channels_alone_are_looked_at() -> None:
    model = prepare(clip())
    name, alike = next(iter(judged_axes(model.graph).items()))
    broken = [{k: v * np.float32(np.nan) for k, v in s.items()} for s in FEW]
    with pytest.raises(QuantizationError, match=re.escape(name)):
        calibrate(model, lambda: iter(broken), [], channels=Extents({name: Extent.empty(alike, keeps=True)}))


def test_tensors_that_are_others_in_the_new_form_are_looked_at_again() -> None:
    model = prepare(clip())
    before = find_ranges(model, SAMPLES, FEW, CONFIG, None)
    even = equalize(model, SAMPLES(), strength=1.0)
    found = still_true(before, model, even.model, FEW[0])
    changed = set(before.statistics) - set(found.statistics)
    assert changed == set(even.factors) & set(before.statistics)
    assert changed
    seen = calibrate(even.model, SAMPLES, sorted(changed))
    again, looked = carried(even.model, replace(found, channels=Extents()), {}, SAMPLES, FEW, CONFIG)
    assert looked and set(again.statistics) == set(observed(even.model.graph))
    assert all(again.statistics[n].high == seen[n].high for n in changed)
