"""Made-up sentences: of every length that is promised, of every form, the same for the same numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.samples.sentences import sentence

MANY = [sentence(np.random.default_rng(seed)) for seed in range(400)]


def test_lengths_vary_as_those_of_reviews_do() -> None:
    lengths = [len(text.split()) for text in MANY]
    assert min(lengths) == 2 and 40 <= max(lengths) <= 100
    assert len(set(lengths)) > 30


def test_no_place_holder_is_left_and_words_are_single_spaced() -> None:
    for text in MANY:
        assert "{" not in text and "}" not in text and text == " ".join(text.split())


def test_sentences_differ() -> None:
    assert len(set(MANY)) > 0.9 * len(MANY)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_numbers_decide(seed: int) -> None:
    assert sentence(np.random.default_rng(seed)) == sentence(np.random.default_rng(seed))
