"""Scale variables: which elements of which tensors must share a scale factor for the network to stay the same function.

A label stands for an unknown factor ``s``. Elements with label ``i`` are divided by ``s_i``, those with ``-i`` are
multiplied by it, and those with label 0 stay as they are. Labels that turn out to be equal are joined; a label that
would have to be its own inverse is 0.

An array of labels has the shape of its tensor; axes along which nothing varies have stride 0 and take no memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["LabelArray", "ScaleVariables", "broadcast", "joined", "squeeze_constant_axes"]

LabelArray = NDArray[np.int64]
#: two labels in one number
_PACK = 1 << 31


class ScaleVariables:
    """Labels that can be made, joined and pinned to 0."""

    def __init__(self) -> None:
        self._parent = np.zeros(1024, np.int64)
        self._count = 1

    @property
    def size(self) -> int:
        """One more than the largest label."""
        return self._count

    def new(self, count: int) -> LabelArray:
        """New labels, each a factor of its own."""
        while self._count + count > self._parent.size:
            self._parent = np.concatenate([self._parent, np.zeros_like(self._parent)])
        new = np.arange(self._count, self._count + count)
        self._parent[new] = new
        self._count += count
        return new

    def find(self, labels: LabelArray) -> LabelArray:
        """The label that now stands for each label; axes without variation stay thin."""
        return np.broadcast_to(self._roots(squeeze_constant_axes(labels)), labels.shape)

    def unify(self, a: LabelArray, b: LabelArray) -> None:
        """Make two arrays of labels (one may broadcast to the other) equal, element by element."""
        first, second = np.broadcast_arrays(
            self._roots(squeeze_constant_axes(a)), self._roots(squeeze_constant_axes(b))
        )
        pairs = np.unique(first.ravel() * _PACK + second.ravel() + _PACK // 2)
        x, y = pairs // _PACK, pairs % _PACK - _PACK // 2
        while (apart := x != y).any():
            self._join(x[apart], y[apart])
            x, y = self._roots(x[apart]), self._roots(y[apart])

    def fix(self, labels: LabelArray) -> None:
        """Leave these elements as they are."""
        self.unify(labels, np.zeros((), np.int64))

    def _roots(self, labels: LabelArray) -> LabelArray:
        found = labels
        while True:
            above = np.sign(found) * self._parent[np.abs(found)]
            if np.array_equal(above, found):
                break
            found = above
        self._parent[np.abs(labels)] = found * np.sign(labels)  # so that the next time there is one step
        return found

    def _join(self, x: LabelArray, y: LabelArray) -> None:
        """Put the smaller of each pair of different roots above the larger; where a root has several, the smallest."""
        swapped = np.abs(x) > np.abs(y)
        low, high = np.where(swapped, y, x), np.where(swapped, x, y)
        order = np.argsort(-np.abs(low), kind="stable")  # the last one written stays
        low, high = low[order], high[order]
        self._parent[np.abs(high)] = np.where(low == -high, 0, low * np.sign(high))


def squeeze_constant_axes(labels: LabelArray) -> LabelArray:
    """The array with one element along each axis on which it cannot vary."""
    return labels[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in labels.strides)]


def broadcast(labels: LabelArray, shape: Sequence[int]) -> LabelArray:
    """The labels seen with another shape, without a copy."""
    return np.broadcast_to(labels, tuple(shape))


def joined(parts: Sequence[LabelArray], axis: int) -> LabelArray:
    """Concatenation that keeps axes thin on which no part varies."""
    flat = [all(p.strides[i] == 0 or p.shape[i] == 1 for p in parts) and i != axis for i in range(parts[0].ndim)]
    index = tuple(slice(0, 1) if f else slice(None) for f in flat)
    shape = list(parts[0].shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    return np.broadcast_to(np.concatenate([p[index] for p in parts], axis), shape)
