"""Permutations of axes."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["channel_first", "channel_last", "compose", "invert", "only_ones_move", "permuted"]


def channel_first(rank: int) -> tuple[int, ...]:
    """The permutation that moves the last axis behind the batch (identity below rank 3)."""
    return tuple(range(rank)) if rank < 3 else (0, rank - 1, *range(1, rank - 1))


def channel_last(rank: int) -> tuple[int, ...]:
    """The inverse of :func:`channel_first`."""
    return invert(channel_first(rank))


def invert(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes ``perm``."""
    result = [0] * len(perm)
    for position, axis in enumerate(perm):
        result[axis] = position
    return tuple(result)


def compose(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """One Transpose that equals ``first`` followed by ``second``."""
    return tuple(first[axis] for axis in second)


def permuted(shape: Sequence[int], perm: Sequence[int]) -> tuple[int, ...]:
    """The shape behind a Transpose."""
    return tuple(shape[axis] for axis in perm)


def only_ones_move(shape: Sequence[int], perm: Sequence[int]) -> bool:
    """True when a Transpose leaves the order of the elements alone: it is a Reshape."""
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)
