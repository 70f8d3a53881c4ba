"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["kib"]


def kib(value: float) -> str:
    """Bytes as KiB with thousands separated."""
    return f"{value / 1024:,.0f} KiB"
