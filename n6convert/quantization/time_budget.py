"""A time budget: work that sees its end stops, and what it would have changed stays as it was."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["TimeBudget", "BudgetExceeded"]

T = TypeVar("T")


class BudgetExceeded(Exception):
    """The time budget is spent; whoever started the work keeps what there was before."""


class TimeBudget:
    """Counts down from the first :meth:`start`.

    Args:
        seconds: how long; None: no end.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self.seconds = seconds
        self._end: float | None = None

    def start(self) -> None:
        """From now on time is counted; until then there is no end. Starting again changes nothing."""
        if self.seconds is not None and self._end is None:
            self._end = time.monotonic() + self.seconds

    @property
    def ended(self) -> bool:
        """Whether the budget is spent."""
        return self._end is not None and time.monotonic() >= self._end

    def watch(self, items: Iterable[T]) -> Iterator[T]:
        """The items one by one as long as there is time.

        Raises:
            BudgetExceeded: instead of an item, or of the end, once the budget is spent.
        """
        for item in items:
            self.check()
            yield item
        self.check()

    def check(self) -> None:
        """Raise BudgetExceeded once the budget is spent."""
        if self.ended:
            raise BudgetExceeded
