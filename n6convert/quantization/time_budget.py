"""A time budget: work that sees its end stops, and what it would have changed stays as it was."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["Clock", "OutOfTime"]

T = TypeVar("T")


class OutOfTime(Exception):
    """The time budget is spent; whoever started the work keeps what there was before."""


class Clock:
    """Counts down from the first :meth:`start`.

    Args:
        budget: seconds; None: no end.
    """

    def __init__(self, budget: float | None = None) -> None:
        self.budget = budget
        self._end: float | None = None

    def start(self) -> None:
        """From now on time is counted; until then there is no end. Starting again changes nothing."""
        if self.budget is not None and self._end is None:
            self._end = time.monotonic() + self.budget

    @property
    def ended(self) -> bool:
        """Whether the budget is spent."""
        return self._end is not None and time.monotonic() >= self._end

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """The items one by one as long as there is time.

        Raises:
            OutOfTime: instead of an item, or of the end, once the budget is spent.
        """
        for item in items:
            self.check()
            yield item
        self.check()

    def check(self) -> None:
        """Raise OutOfTime once the budget is spent."""
        if self.ended:
            raise OutOfTime
