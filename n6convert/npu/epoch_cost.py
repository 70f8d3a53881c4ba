"""Cycles and time of one epoch, as the parts of a prediction share them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from n6convert.npu.ir import Where

__all__ = ["EpochCost"]


@dataclass(frozen=True, slots=True)
class EpochCost:
    """One epoch: the compiler's two cycle counts, and the time a board needs (microseconds), split by cause.

    ``bound`` names what decides the time: compute, flash, memory, software, hybrid or nothing; ``needs`` are the
    microseconds of each resource of a hardware epoch. ``inferred`` names constants of thin evidence that it rests on.
    """

    id: int
    kind: Where
    compute_cycles: float
    max_cycles: float
    microseconds: float
    overhead: float
    bound: str
    needs: Mapping[str, float] = field(default_factory=dict)
    external: bool = False
    """It reads or writes external RAM."""
    repeated: bool = False
    """It reads a map in external RAM more than once, or exchanges partial sums with it."""
    inferred: tuple[str, ...] = ()

    @property
    def waits_for(self) -> str:
        """``bound``, with memory outside the chip apart as ``external``."""
        return "external" if self.bound == "memory" and self.external else self.bound
