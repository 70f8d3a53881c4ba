"""The type of torch's tensors, which come without types to those who check them."""

from __future__ import annotations

from typing import Any

__all__ = ["Tensor"]

Tensor = Any
