"""Formatting of numbers, sizes and names for readers."""

from __future__ import annotations

__all__ = ["decibels", "kib", "short"]

_LONGEST = 40


def kib(value: float) -> str:
    """Bytes as KiB with thousands separated."""
    return f"{value / 1024:,.0f} KiB"


def decibels(value: float | None) -> str:
    """A ratio in dB; None stands for equal signals."""
    return "no difference" if value is None else f"{value:.1f} dB"


def short(name: str) -> str:
    """The end of a long name, which tells tensors apart."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"
