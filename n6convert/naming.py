"""Names people mistype."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three known names that look like a mistyped one, best first."""
    return difflib.get_close_matches(name, sorted(set(known)), n=3, cutoff=0.55)
