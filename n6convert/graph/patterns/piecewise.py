"""Functions of one number that are polynomials of degree 2 at most between breaks; by channel where breaks are arrays.

Masks are such functions with values 0 and 1, so that ``Where(m, a, b) = m a + (1 - m) b`` and ``And(m, n) = m n`` are
sums and products of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["IDENTITY", "Break", "Piecewise", "Poly", "constant", "value_at"]

Number = NDArray[np.float64]
Poly = tuple[Number, ...]
"""Coefficients by power; as many as the degree needs."""
_CLOSE = 1e-6


@dataclass(frozen=True)
class Break:
    """Where one piece ends and the next begins; ``right``: the place itself belongs to the next."""

    at: Number
    right: bool


@dataclass(frozen=True)
class Piecewise:
    """One more piece than breaks, from left to right."""

    breaks: tuple[Break, ...]
    pieces: tuple[Poly, ...]

    def __add__(self, other: Piecewise) -> Piecewise | None:
        return _combined(self, other, _sum)

    def __sub__(self, other: Piecewise) -> Piecewise | None:
        return _combined(self, other, lambda a, b: _sum(a, tuple(-c for c in b)))

    def __mul__(self, other: Piecewise) -> Piecewise | None:
        return _combined(self, other, _product)

    def above(self, other: Piecewise, equal: bool) -> Piecewise | None:
        """The mask of ``self > other``, or ``>=``; None where it is not one affine function of x above another."""
        gap = self - other
        if gap is None or gap.breaks or len(gap.pieces[0]) != 2:
            return None
        shift, slope = gap.pieces[0]
        if not ((slope > 0).all() or (slope < 0).all()):
            return None
        off, on = constant(0.0).pieces[0], constant(1.0).pieces[0]
        rises = bool((slope > 0).all())
        return Piecewise((Break(-shift / slope, equal == rises),), (off, on) if rises else (on, off))

    def simple(self) -> Piecewise | None:
        """Without breaks at which nothing changes; None where a single point has a value of its own."""
        breaks: list[Break] = []
        pieces = [self.pieces[0]]
        for index, (found, piece) in enumerate(zip(self.breaks, self.pieces[1:], strict=True)):
            point = index + 1 < len(self.breaks) and _equal(found.at, self.breaks[index + 1].at)
            if point and not (_joins(pieces[-1], piece, found.at) or _joins(piece, self.pieces[index + 2], found.at)):
                return None
            if not point and not _same(pieces[-1], piece):
                breaks.append(found)
                pieces.append(piece)
        return Piecewise(tuple(breaks), tuple(pieces))

    def continuous(self, index: int) -> bool:
        """Whether the pieces on both sides of a break meet."""
        return _joins(self.pieces[index], self.pieces[index + 1], self.breaks[index].at)


def constant(value: Any) -> Piecewise:
    """The same value everywhere, by channel for an array."""
    return Piecewise((), (_trimmed((np.asarray(value, np.float64),)),))


IDENTITY = Piecewise((), ((np.zeros(()), np.ones(())),))


def value_at(poly: Poly, x: Number) -> Number:
    """The polynomial's value."""
    total = np.zeros(())
    for coefficient in reversed(poly):
        total = total * x + coefficient
    return np.asarray(total)


def _combined(a: Piecewise, b: Piecewise, how: Callable[[Poly, Poly], Poly | None]) -> Piecewise | None:
    merged = _merged(a.breaks, b.breaks)
    if merged is None:
        return None
    breaks = [found for found, _, _ in merged]
    pieces = [how(a.pieces[i], b.pieces[j]) for i, j in ((0, 0), *((i, j) for _, i, j in merged))]
    known = [p for p in pieces if p is not None]
    return Piecewise(tuple(breaks), tuple(known)).simple() if len(known) == len(pieces) else None


def _merged(a: Sequence[Break], b: Sequence[Break]) -> list[tuple[Break, int, int]] | None:
    """All breaks in order, with the pieces that begin there; None where channels disagree about the order."""
    found: list[tuple[Break, int, int]] = []
    i = j = 0
    while i < len(a) or j < len(b):
        order = 1 if i == len(a) else -1 if j == len(b) else _order(a[i], b[j])
        if order is None:
            return None
        taken = b[j] if order > 0 else a[i]
        i, j = i + (order <= 0), j + (order >= 0)
        found.append((taken, i, j))
    return found


def _order(a: Break, b: Break) -> int | None:
    if _equal(a.at, b.at):
        return int(b.right) - int(a.right)
    if (a.at < b.at).all():
        return -1
    return 1 if (a.at > b.at).all() else None


def _sum(a: Poly, b: Poly) -> Poly:
    zero = np.zeros(())
    size = max(len(a), len(b))
    a, b = ((*p, *[zero] * (size - len(p))) for p in (a, b))
    return _trimmed(tuple(x + y for x, y in zip(a, b, strict=True)))


def _product(a: Poly, b: Poly) -> Poly | None:
    if not a or not b:
        return ()
    if len(a) + len(b) > 4:
        return None
    total: list[Number] = [np.zeros(())] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            total[i + j] = total[i + j] + x * y
    return _trimmed(tuple(total))


def _trimmed(poly: Poly) -> Poly:
    while poly and not poly[-1].any():
        poly = poly[:-1]
    return poly


def _pairs(a: Poly, b: Poly) -> Iterator[tuple[Number, Number]]:
    zero = np.zeros(())
    return ((x, y) for x, y in zip((*a, zero, zero, zero)[:3], (*b, zero, zero, zero)[:3], strict=True))


def _same(a: Poly, b: Poly) -> bool:
    return all(_equal(x, y) for x, y in _pairs(a, b))


def _equal(a: Number, b: Number) -> bool:
    return bool(np.allclose(a, b, rtol=_CLOSE, atol=1e-12))


def _joins(a: Poly, b: Poly, at: Number) -> bool:
    return bool(np.allclose(value_at(a, at), value_at(b, at), rtol=_CLOSE, atol=_CLOSE))
