from __future__ import annotations

import numpy as np
import pytest

from n6convert.errors import SourceError
from n6convert.metrics.base import bootstrap, bootstrap_drop
from n6convert.metrics.text import EmbeddingAgreement
from n6convert.plugin import Sample


def scored(pairs) -> EmbeddingAgreement:
    metric = EmbeddingAgreement()
    for i, (reference, found) in enumerate(pairs):
        metric.add(Sample(str(i), "text", label=np.asarray(reference)), np.asarray(found))
    return metric


def test_the_mean_cosine_and_the_worst() -> None:
    score = scored([([1.0, 0], [2.0, 0]), ([1.0, 0], [1.0, 1.0]), ([0.0, 3], [1.0, 0])]).score()
    assert score.value == pytest.approx((1 + np.sqrt(0.5) + 0) / 3)
    assert score.details["least"] == 0 and score.samples == 3 and score.higher_is_better


def test_it_can_be_resampled_alone_and_against_float() -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((20, 8))
    exact = scored(zip(vectors, vectors, strict=True)).score()
    noisy = scored((v, v + 0.1 * random.standard_normal(8)) for v in vectors).score()
    interval = bootstrap(noisy)
    assert interval is not None and interval.low < noisy.value < interval.high < 1
    drop = bootstrap_drop(exact, noisy)
    assert drop is not None and drop.value == pytest.approx(1 - noisy.value)


def test_embeddings_of_zeros_agree_only_with_each_other() -> None:
    assert scored([([0.0, 0], [0.0, 0])]).score().value == 1
    assert scored([([0.0, 0], [1.0, 0])]).score().value == 0


def test_a_label_that_is_no_embedding_is_named() -> None:
    with pytest.raises(SourceError, match="embedding"):
        EmbeddingAgreement().add(Sample("s7", "text", label=1), np.ones(4))
    with pytest.raises(SourceError):
        EmbeddingAgreement().score()
