"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, known: Iterable[str], *, most: int = 3, likeness: float = 0.55) -> list[str]:
    """Known names that look like a mistyped one, best first.

    Args:
        name: as it was typed.
        known: names that there are.
        most: how many are given.
        likeness: share of letters in common that a name must have at least, 0 to 1.
    """
    return difflib.get_close_matches(name, sorted(set(known)), n=most, cutoff=likeness)
