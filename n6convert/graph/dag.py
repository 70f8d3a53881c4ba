"""Questions to a graph that follow values to their operands or readers, without recursion.

A function that calls itself for every operand asks one value many times (``Concat(x, x)`` behind ``Concat(x, x)``) and
ends at Python's limit of depth in long networks.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

__all__ = ["fold", "reach"]

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")


def reach(start: T, steps: Callable[[T], Iterable[T]]) -> Iterator[T]:
    """``start`` and all that steps lead to from it, each once; in the order of a walk that goes deep first."""
    seen, pending = {start}, [start]
    while pending:
        item = pending.pop()
        yield item
        fresh = [other for other in dict.fromkeys(steps(item)) if other not in seen]
        seen.update(fresh)
        pending.extend(reversed(fresh))


def fold(start: T, parts: Callable[[T], Iterable[T]], combine: Callable[[T, Sequence[R]], R], known: dict[T, R]) -> R:
    """The result for ``start``, made from the results of its parts, and those from their parts.

    Args:
        start: where the question is asked.
        parts: what an item's result depends on; the items form no cycle.
        combine: called once for an item, with the results of its parts in their order.
        known: results so far, which further calls use.
    """
    pending: list[tuple[T, list[T] | None]] = [(start, None)]
    while pending:
        item, inner = pending.pop()
        if inner is not None:
            known[item] = combine(item, [known[part] for part in inner])
        elif item not in known:
            inner = list(parts(item))
            pending.append((item, inner))
            pending.extend((part, None) for part in inner if part not in known)
    return known[start]
