"""What a task metric is, and how sure its value is.

A metric is fed one sample and prediction at a time and ends in a :class:`Score`. A score knows how to compute itself
again for any weighting of its samples; that is all the bootstrap needs, for a metric alone (:func:`bootstrap`) and for
the drop between two models judged on the same samples (:func:`bootstrap_drop`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert.samples.base import Sample

__all__ = ["Interval", "Metric", "Score", "bootstrap", "bootstrap_drop", "mean_score"]

Floats = NDArray[np.float64]
#: weights ``[resamples, samples]`` (how often each sample counts) to values ``[resamples]``
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Score:
    """How right a model is on labeled samples.

    Attributes:
        name: what was measured, for people: ``box AP 50:95``.
        value: a share between 0 and 1 for accuracies and APs.
        unit: ``AP``, ``top-1``, ``OKS`` ...
        samples: how many samples it was measured on.
        details: further numbers worth a line in the report.
        statistic: the value again for weighted samples; None when it cannot be resampled.
        higher_is_better: False for errors.
    """

    name: str
    value: float
    unit: str
    samples: int
    details: Mapping[str, float] = field(default_factory=dict)
    statistic: Statistic | None = None
    higher_is_better: bool = True


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap confidence interval over samples, ``low <= value <= high`` as a rule."""

    value: float
    low: float
    high: float
    confidence: float


class Metric(ABC):
    """Judges predictions one at a time. One instance judges one model once."""

    #: True where the float model's prediction stands for the label: it is put there, and no labeled samples are needed
    against_float: ClassVar[bool] = False

    @abstractmethod
    def add(self, sample: Sample, prediction: Any) -> None:
        """Judge one prediction.

        Raises:
            SourceError: the sample has no label, or one of another form.
        """

    @abstractmethod
    def score(self) -> Score:
        """The score over all samples added so far.

        Raises:
            SourceError: nothing was added.
        """


def mean_score(name: str, values: Sequence[float], unit: str, **details: float) -> Score:
    """The score of a metric that is the mean of one number per sample.

    Args:
        name: of the metric.
        values: one per sample.
        unit: of the values.

    Raises:
        SourceError: there are no values.
    """
    if not len(values):
        raise SourceError("no labeled samples to judge the model on", place=name)
    each = np.asarray(values, np.float64)

    def statistic(weights: Floats) -> Floats:
        return np.asarray(weights @ each / weights.sum(1))

    return Score(name, float(each.mean()), unit, len(each), details, statistic)


def bootstrap(score: Score, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95) -> Interval | None:
    """Confidence interval of a score over its samples (percentile bootstrap); None when it cannot be resampled.

    Args:
        score: with its samples.
        resamples: how many.
        seed: of the resampling.
        confidence: share of resamples inside the interval.
    """
    if score.statistic is None:
        return None
    values = score.statistic(_weights(resamples, score.samples, seed))
    return _interval(score.value, values, confidence)


def bootstrap_drop(
    reference: Score, other: Score, *, resamples: int = 1000, seed: int = 0, confidence: float = 0.95
) -> Interval | None:
    """What ``other`` loses against ``reference`` on the same samples, with a paired bootstrap interval.

    Positive means worse. Both are resampled with the same weights, so what is hard for both cancels out. None when one
    of them cannot be resampled or they were judged on different numbers of samples.

    Args:
        reference: score of the float model.
        other: score of the INT8 model, on the same samples.
        resamples: how many.
        seed: of the resampling.
        confidence: share of resamples inside the interval.
    """
    if reference.statistic is None or other.statistic is None or reference.samples != other.samples:
        return None
    weights = _weights(resamples, reference.samples, seed)
    sign = 1.0 if reference.higher_is_better else -1.0
    values = sign * (reference.statistic(weights) - other.statistic(weights))
    return _interval(sign * (reference.value - other.value), values, confidence)


def _weights(resamples: int, samples: int, seed: int) -> Floats:
    """How often each sample is drawn in each resample ``[resamples, samples]``."""
    draws = np.random.Generator(np.random.PCG64(seed)).integers(0, samples, (resamples, samples))
    rows = np.arange(resamples)[:, None] * samples
    return np.bincount((draws + rows).ravel(), minlength=resamples * samples).reshape(resamples, samples).astype(float)


def _interval(value: float, values: Floats, confidence: float) -> Interval:
    """Bias-corrected percentiles (Efron): APs of resamples lie above the AP of the samples themselves."""
    normal = NormalDist()
    values = values[np.isfinite(values)]
    if not len(values) or np.ptp(values) == 0:
        return Interval(value, value, value, confidence)
    below = (np.count_nonzero(values < value) + 0.5 * np.count_nonzero(values == value)) / len(values)
    shift = 2 * normal.inv_cdf(min(max(below, 1 / len(values)), 1 - 1 / len(values)))
    tail = normal.inv_cdf((1 - confidence) / 2)
    low, high = np.quantile(values, [normal.cdf(shift + tail), normal.cdf(shift - tail)])
    return Interval(value, float(low), float(high), confidence)
