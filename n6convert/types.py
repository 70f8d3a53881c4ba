"""Types that many parts pass to each other, defined once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Feeds", "Outputs", "Progress"]

Feeds = Mapping[str, "NDArray[Any]"]
"""Arrays by the name of the graph's input: one encoded sample."""
Outputs = Mapping[str, "NDArray[Any]"]
"""Arrays by the name of the graph's output."""
Progress = Callable[[str, int, "int | None"], None]
"""Called with what is being done, how much is done, and the total where it is known."""
