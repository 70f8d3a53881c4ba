"""Images a little different: as they might be seen, the same from the same seed, without their label."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.samples.base import Sample
from n6convert.samples.variation import varied


def image(height: int = 40, width: int = 60) -> Sample:
    return Sample("a", np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8), label=3)


def test_the_seed_decides() -> None:
    first, second, other = (varied(image(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.data, second.data) and not np.array_equal(first.data, other.data)
    assert first.data.dtype == np.uint8 and first.label is None and first.id == "a"


def test_crops_keep_most_of_the_image() -> None:
    sizes = np.array([varied(image(), np.random.default_rng(seed)).data.shape for seed in range(50)])
    assert sizes[:, 0].min() >= 30 and sizes[:, 1].min() >= 45 and len(np.unique(sizes[:, 0])) > 5


def test_brightness_stays_in_range() -> None:
    white = Sample("w", np.full((8, 8, 3), 250, np.uint8))
    means = [float(np.mean(varied(white, np.random.default_rng(seed)).data)) for seed in range(30)]
    assert min(means) < 220 and max(means) == 255


@pytest.mark.parametrize("sample", [Sample("t", "a text", label=1), Sample("x", {"x": np.zeros(3)}, label=2)])
def test_what_is_no_image_stays(sample: Sample) -> None:
    assert varied(sample, np.random.default_rng(0)) is sample
