"""How far the channels of tensors reach over the samples, and how much energy they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import with_outputs
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped
from n6convert.types import Feeds

__all__ = ["Extent", "Extents", "extents"]

Array = NDArray[np.float64]


@dataclass
class Extent:
    """One tensor's channels over the samples; the axes that are alike within a channel have size 1.

    Attributes:
        alike: those axes.
        low, high: smallest (at most 0) and largest (at least 0) value.
        square: mean square.
        count: samples that were seen.
    """

    alike: tuple[int, ...]
    low: Array
    high: Array
    square: Array
    count: int = 0

    @classmethod
    def empty(cls, alike: tuple[int, ...]) -> Extent:
        """Before the first sample."""
        return cls(alike, *np.zeros((3, 1)))

    def add(self, values: NDArray[np.float32]) -> None:
        """Take one sample's values."""
        if not values.size:
            return
        self.low = np.minimum(self.low, values.min(axis=self.alike, keepdims=True))
        self.high = np.maximum(self.high, values.max(axis=self.alike, keepdims=True))
        self.count += 1
        self.square = self.square + (_mean_square(values, self.alike) - self.square) / self.count


def _mean_square(values: NDArray[np.float32], alike: tuple[int, ...]) -> Array:
    """Mean of squares along some axes, which are kept."""
    axes = "abcdefghijkl"[: values.ndim]
    kept = "".join(a for i, a in enumerate(axes) if i not in alike)
    sums: NDArray[np.float32] = np.einsum(f"{axes},{axes}->{kept}", values, values)
    shape = [1 if i in alike else d for i, d in enumerate(values.shape)]
    return np.asarray(np.reshape(sums, shape) / (values.size // max(sums.size, 1)), np.float64)


class Extents(dict[str, Extent]):
    """Extents of tensors by name; values are those of one float model, or of another that computes the same ones."""

    def covers(self, name: str, alike: tuple[int, ...]) -> bool:
        """Whether a tensor is known with these axes."""
        return name in self and self[name].count > 0 and self[name].alike == alike


def extents(
    model: ir.Model, axes: Mapping[str, tuple[int, ...]], samples: Iterable[Feeds], threads: int | None = None
) -> Extents:
    """Extents of the named tensors, with the axes that are alike within a channel, over the samples."""
    found = Extents((name, Extent.empty(alike)) for name, alike in axes.items())
    if not found:
        return found
    session = Session(with_outputs(model, list(found)), threads=1)
    for outputs in mapped(lambda sample: session.run({n: sample[n] for n in session.inputs}), samples, threads):
        for name, values in outputs.items():
            found[name].add(values)
    return found
