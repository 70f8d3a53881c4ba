"""Scores of means, and how well the bootstrap knows them."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.errors import SourceError
from n6convert.metrics import Score, bootstrap, bootstrap_drop, mean_score


def test_interval_of_a_mean_is_that_of_the_theory() -> None:
    values = np.random.default_rng(0).normal(0.6, 0.1, 400)
    interval = bootstrap(mean_score("m", list(values), "OKS"), resamples=4000)
    assert interval is not None
    expected = 1.96 * values.std() / 20
    assert interval.value == pytest.approx(values.mean())
    assert interval.high - interval.value == pytest.approx(expected, rel=0.1)
    assert interval.value - interval.low == pytest.approx(expected, rel=0.1)


def test_pairing_takes_out_what_is_hard_for_both() -> None:
    hard = np.random.default_rng(0).uniform(0, 1, 100)
    drop = bootstrap_drop(mean_score("a", list(hard), "x"), mean_score("b", list(hard - 0.05), "x"))
    assert drop is not None
    assert drop.low == pytest.approx(0.05) and drop.high == pytest.approx(0.05)


def test_errors_drop_the_other_way() -> None:
    better, worse = mean_score("a", [0.1, 0.2], "px"), mean_score("b", [0.3, 0.4], "px")
    low = Score("a", 0.15, "px", 2, statistic=better.statistic, higher_is_better=False)
    drop = bootstrap_drop(low, Score("b", 0.35, "px", 2, statistic=worse.statistic, higher_is_better=False))
    assert drop is not None and drop.value == pytest.approx(0.2)


def test_what_cannot_be_resampled() -> None:
    plain = Score("x", 0.5, "AP", 10)
    assert bootstrap(plain) is None and bootstrap_drop(plain, plain) is None
    assert bootstrap_drop(mean_score("a", [1.0], "x"), mean_score("a", [1.0, 0.0], "x")) is None
    with pytest.raises(SourceError, match="no labeled samples"):
        mean_score("a", [], "x")
