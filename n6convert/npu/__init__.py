"""The Neural-ART model: where operators run, epochs, cycles, memory and time, predicted offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n6convert.npu.estimation import Estimate, estimate
    from n6convert.npu.explanation import explain, operator_table

__all__ = ["Estimate", "estimate", "explain", "operator_table"]

_HOMES = {
    "Estimate": "estimation",
    "estimate": "estimation",
    "explain": "explanation",
    "operator_table": "explanation",
}


def __getattr__(name: str) -> Any:
    """Load on first use: the command line must not pay for what it does not call."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
