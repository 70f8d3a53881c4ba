"""Python's collector of cyclic garbage, held back while many graphs are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_rarely", "rare_collections"]

#: objects made between two collections; a graph of a thousand nodes is about fifty thousand
_OBJECTS = 250_000


def collect_rarely() -> None:
    """Collect rarely for good, in a process that ends with its work: what is left then goes with it, unlooked at."""
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect rarely inside: graphs are thousands of objects that live, and each collection looks at all of them.

    What was there before the outermost one is not looked at. What a caller has set stays where it is rarer, and comes
    back afterwards.
    """
    before, outermost = gc.get_threshold(), not gc.get_freeze_count()
    if before[0]:
        gc.set_threshold(max(before[0], _OBJECTS), *before[1:])
    if before[0] and outermost:
        if gc.get_count()[0] > _OBJECTS // 5:
            gc.collect()  # or it would be kept until the end
        gc.freeze()
    try:
        yield
    finally:
        if outermost:
            gc.unfreeze()
        gc.set_threshold(*before)
