"""Python's collector of cyclic garbage, held back while many graphs are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rare_collections"]

#: objects made between two collections; a graph of a thousand nodes is about fifty thousand
_OBJECTS = 250_000


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect rarely inside: graphs are thousands of objects that live, and each collection looks at all of them.

    What a caller has set stays where it is rarer, and comes back afterwards.
    """
    before = gc.get_threshold()
    if before[0]:
        gc.set_threshold(max(before[0], _OBJECTS), *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
