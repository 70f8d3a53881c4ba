"""Made-up samples: the same for a seed, and with the statistics they promise."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.errors import SourceError
from n6convert.plugin import ModelInfo, TensorInfo
from n6convert.samples import synthetic_samples
from n6convert.samples.synthetic import dead_leaves


def test_same_seed_same_samples() -> None:
    for kind in ("image", "text"):
        first, again, other = (synthetic_samples(kind, count=2, seed=s) for s in (3, 3, 4))
        assert [s.sha256 for s in first] == [s.sha256 for s in again] != [s.sha256 for s in other]
        assert first.synthetic and len(first) == 2


def test_images_take_the_size_of_the_input() -> None:
    info = ModelInfo((TensorInfo("x", (1, 3, 96, 64), "float32"),), (), {})
    shapes = {s.data.shape for s in synthetic_samples("image", info, count=6)}
    assert len(shapes) > 2 and all(max(s[:2]) == 96 and s[2] == 3 for s in shapes)


def test_spectrum_falls_as_that_of_photographs() -> None:
    """Power near 1 / f^2: photographs lie between exponents 1.5 and 2.7."""
    slopes = []
    for index in range(6):
        gray = dead_leaves((256, 256), (0, index)).mean(2)
        power = np.abs(np.fft.fft2((gray - gray.mean()) * np.outer(np.hanning(256), np.hanning(256)))) ** 2
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
        bands = [(f, power[(frequency >= f) & (frequency < 1.3 * f)].mean()) for f in np.geomspace(0.02, 0.3, 10)]
        slopes.append(np.polyfit(*np.log(np.array(bands)).T, 1)[0])
    assert -2.7 < np.mean(slopes) < -1.5


def test_images_use_the_whole_range_and_color() -> None:
    images = [s.data.astype(float) for s in synthetic_samples("image", count=8)]
    assert min(i.min() for i in images) <= 2 and max(i.max() for i in images) >= 253
    assert np.mean([i.std() for i in images]) > 40
    assert np.mean([np.abs(i[..., 0] - i[..., 2]).mean() for i in images]) > 8


def test_sentences_vary_in_length() -> None:
    lengths = [len(s.data.split()) for s in synthetic_samples("text", count=64)]
    assert min(lengths) <= 5 and max(lengths) >= 30 and len({s.data for s in synthetic_samples("text")}) > 60


def test_arrays() -> None:
    info = ModelInfo((TensorInfo("x", (1, 5), "float32"), TensorInfo("y", (1, 2, 3), "float16")), (), {})
    samples = list(synthetic_samples("arrays", info, count=4))
    assert {n: (a.shape, str(a.dtype)) for n, a in samples[0].data.items()} == {
        "x": ((1, 5), "float32"),
        "y": ((1, 2, 3), "float16"),
    }
    assert not np.array_equal(samples[0].data["x"], samples[1].data["x"])
    with pytest.raises(SourceError, match="cannot be made up"):
        synthetic_samples("arrays", ModelInfo((TensorInfo("ids", (1, 5), "int64"),), (), {}))
