"""Classification: top-1 and top-5 accuracy on labeled samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert.metrics.base import Metric, Score, mean_score
from n6convert.samples.base import Sample

__all__ = ["Classes", "Classification", "class_of", "rank"]


@dataclass(frozen=True)
class Classes:
    """Classes by falling score.

    Attributes:
        indices: class numbers, best first.
        scores: the network's outputs for them, as they came (logits or probabilities).
        names: their names, empty when unknown.
        total: how many classes the network knows.
    """

    indices: tuple[int, ...]
    scores: tuple[float, ...]
    names: tuple[str, ...] = ()
    total: int = 0

    def __str__(self) -> str:
        shown = self.names or tuple(f"class {index}" for index in self.indices)
        return ", ".join(f"{name} ({score:.3g})" for name, score in zip(shown, self.scores, strict=True))


def rank(scores: NDArray[Any], count: int = 5, names: Sequence[str] = ()) -> Classes:
    """The ``count`` best classes of one sample's scores ``[1, classes]`` (other dimensions of size 1 do not matter).

    Equal scores rank by class number, so that a coarse INT8 grid gives the same answer everywhere.

    Args:
        scores: ``[1, classes]``.
        count: how many classes.
        names: of the classes, by number; may be empty.
    """
    flat = np.asarray(scores, np.float64).ravel()
    order = np.argsort(-flat, kind="stable")[:count]
    known = tuple(names[i] for i in order) if len(names) == flat.size else ()
    return Classes(tuple(int(i) for i in order), tuple(float(flat[i]) for i in order), known, flat.size)


class Classification(Metric):
    """Share of samples whose class is the best one (``value``), and among the best five (``details['top-5']``).

    Args:
        names: class names, to read labels that are names.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._names = list(names)
        self._first: list[float] = []
        self._five: list[float] = []

    def add(self, sample: Sample, prediction: Classes) -> None:
        """Judge one prediction against the sample's class number or name.

        Raises:
            SourceError: no label, or a class the network does not know.
        """
        wanted = class_of(sample, self._names)
        if prediction.total and not 0 <= wanted < prediction.total:
            raise SourceError(
                "a label is outside the network's classes", place=sample.id, found=wanted,
                limit=f"0..{prediction.total - 1}",
            )  # fmt: skip
        self._first.append(float(prediction.indices[0] == wanted))
        self._five.append(float(wanted in prediction.indices[:5]))

    def score(self) -> Score:
        """Top-1 accuracy (0..1) with top-5 among the details. Raises SourceError when nothing was added."""
        five = {"top-5": float(np.mean(self._five))} if self._five else {}
        return mean_score("top-1 accuracy", self._first, "top-1", **five)


def class_loss(scores: Any, sample: Sample, names: Sequence[str] = ()) -> Any:
    """Cross entropy of scores ``[1, classes]`` before any Softmax, a torch tensor, on a labeled sample.

    Args:
        scores: torch tensor ``[1, classes]``.
        sample: with its label.
        names: of the classes, by number; may be empty.

    Raises:
        SourceError: no label, or a class the network does not know.
    """
    wanted, flat = class_of(sample, names), scores.reshape(-1)
    if not 0 <= wanted < flat.numel():
        raise SourceError(
            "a label is outside the network's classes", place=sample.id, found=wanted, limit=f"0..{flat.numel() - 1}"
        )
    return -flat.log_softmax(0)[wanted]


def class_of(sample: Sample, names: Sequence[str] = ()) -> int:
    """Class number of a labeled sample; a label is a number, a name, or a row with one of them.

    Raises:
        SourceError: the sample has no label that names a class.
    """
    label = sample.label
    if isinstance(label, Mapping):
        label = next((label[key] for key in ("class_index", "class", "label", "name") if key in label), None)
    if isinstance(label, (int, np.integer)) and not isinstance(label, bool):
        return int(label)
    text = "" if label is None else str(label).strip()
    if text.lstrip("-").isdigit():
        return int(text)
    if text in names:
        return list(names).index(text)
    raise SourceError(
        "a sample has no class label", place=sample.id, found=text or "none",
        remedy="label with a csv of file and class_index, or one folder per class",
    )  # fmt: skip
