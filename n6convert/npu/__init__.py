"""The Neural-ART model: where operators run, epochs, cycles, memory and time, predicted offline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from n6convert.lazy import first_use

if TYPE_CHECKING:
    from n6convert.npu.estimation import Estimate, estimate
    from n6convert.npu.explanation import explain, operator_table

__all__ = ["Estimate", "estimate", "explain", "operator_table"]

#: loaded on first use: the command line must not pay for what it does not call
_HOMES = {
    "Estimate": "estimation",
    "estimate": "estimation",
    "explain": "explanation",
    "operator_table": "explanation",
}
__getattr__ = first_use(__name__, _HOMES)
