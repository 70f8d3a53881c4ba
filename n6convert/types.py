"""Types that many parts pass to each other, defined once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Feeds", "ModelInfo", "Outputs", "Progress", "TensorInfo", "within"]

Feeds = Mapping[str, "NDArray[Any]"]
"""Arrays by the name of the graph's input: one encoded sample."""
Outputs = Mapping[str, "NDArray[Any]"]
"""Arrays by the name of the graph's output."""
Progress = Callable[[str, int, "int | None"], None]
"""Called with what is being done, how much is done, and the total where it is known."""


def within(stage: str, report: Progress) -> Progress:
    """Tells the steps of a stage as its own."""
    return lambda what, done, total: report(f"{stage}: {what}", done, total)


@dataclass(frozen=True)
class TensorInfo:
    """Name, static shape and numpy dtype of a graph input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class ModelInfo:
    """The built model as a plugin sees it again: its interface and the metadata its ``build`` returned."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    metadata: Mapping[str, str]
