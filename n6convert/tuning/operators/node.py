"""A node of the graph as the operators read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Node", "Operator", "whole_numbers"]


@dataclass(frozen=True)
class Node:
    """Attributes:
    inputs: names, empty for those left out.
    shape: of the first output, None where unknown.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    shape: tuple[int, ...] | None

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)


Operator = Callable[[Node, Sequence[Any]], Any]


def whole_numbers(value: Any) -> NDArray[np.int64]:
    """Sizes, axes or places that an operator reads."""
    return np.asarray(value, np.int64).reshape(-1)
