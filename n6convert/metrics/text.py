"""Embeddings of texts: how closely INT8 points where float does."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert.metrics.base import Metric, Score, mean_score
from n6convert.samples.base import Sample

__all__ = ["EmbeddingAgreement"]


class EmbeddingAgreement(Metric):
    """Mean cosine between a text's embedding ``[D]`` and the float model's; needs no labels."""

    against_float: ClassVar[bool] = True

    def __init__(self) -> None:
        self._cosines: list[float] = []

    def add(self, sample: Sample, prediction: NDArray[Any]) -> None:
        """Judge one embedding; the sample's label is the float model's.

        Raises:
            SourceError: the label is no embedding of the same size.
        """
        wanted, found = np.asarray(sample.label, np.float64), np.asarray(prediction, np.float64)
        if wanted.shape != found.shape or wanted.ndim != 1:
            raise SourceError(
                "an embedding is judged against another one", place=sample.id, limit=found.shape, found=wanted.shape
            )
        size = float(np.linalg.norm(wanted) * np.linalg.norm(found))
        self._cosines.append(float(wanted @ found) / size if size else float(not wanted.any() and not found.any()))

    def score(self) -> Score:
        least = min(self._cosines, default=0.0)
        return mean_score("cosine of embeddings to float", self._cosines, "cosine", least=least)
