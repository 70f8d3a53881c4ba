"""Do several models fit one board together? Buffers shared in a cascade, weights side by side in flash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from n6convert.errors import SourceError

__all__ = ["FlashRegion", "Resident", "Together", "plan"]

#: erase block of the boards' octal flash in bytes; a model is updated without touching its neighbour's block
ERASE_BLOCK = 64 * 1024


@dataclass(frozen=True)
class Resident:
    """One model's predicted needs, bytes and milliseconds."""

    name: str
    activations: int
    weights: int
    milliseconds: float
    low: float
    high: float

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> Resident:
        """From a run's ``report.json``.

        Raises:
            SourceError: the report has no prediction.
        """
        memory, latency = report.get("memory"), report.get("latency")
        if not memory or not latency:
            raise SourceError(
                "this report has no predicted memory and time",
                place=report.get("model"),
                remedy="convert the model again with this version",
            )
        return cls(
            str(report["model"]),
            int(memory["activations"]),
            int(memory["weights"]),
            float(latency["milliseconds"]),
            float(latency["low"]),
            float(latency["high"]),
        )


@dataclass(frozen=True)
class FlashRegion:
    """Where a model's weights lie in the flash: ``[start, end)``."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Together:
    """Several models on one board.

    Attributes:
        shared: activation bytes when the models run one after another and reuse the same buffers: the largest one.
        separate: activation bytes when all buffers stay alive at once: the sum.
        on_chip: usable on-chip activation memory of the target.
        flash: the flash map, in the order given.
        flash_size: bytes of flash for weights.
    """

    residents: tuple[Resident, ...]
    shared: int
    separate: int
    on_chip: int
    flash: tuple[FlashRegion, ...]
    flash_size: int

    @property
    def milliseconds(self) -> tuple[float, float, float]:
        """Predicted time of one frame with every model run once: best guess, low, high."""
        rows = [(r.milliseconds, r.low, r.high) for r in self.residents]
        best, low, high = (sum(column) for column in zip(*rows, strict=True))
        return best, low, high

    @property
    def flash_used(self) -> int:
        return sum(region.end - region.start for region in self.flash)

    @property
    def fits(self) -> bool:
        """Whether the models run from on-chip RAM in a cascade and their weights fit the flash."""
        return self.shared <= self.on_chip and self.flash_used <= self.flash_size

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        best, low, high = self.milliseconds
        return {
            "fits": self.fits,
            "models": [vars(r) for r in self.residents],
            "activations": {"shared": self.shared, "separate": self.separate, "on_chip": self.on_chip},
            "flash": {
                "used": self.flash_used,
                "size": self.flash_size,
                "map": [{"name": r.name, "start": f"0x{r.start:08x}", "end": f"0x{r.end:08x}"} for r in self.flash],
            },
            "frame": {
                "milliseconds": best,
                "low": low,
                "high": high,
                "frames_per_second": 1000 / best if best else None,
            },
        }


def plan(residents: Sequence[Resident], *, on_chip: int, flash_start: int, flash_size: int) -> Together:
    """Lay out models that take turns: shared activations, weights one behind the other on erase blocks."""
    regions, start = [], flash_start
    for resident in residents:
        end = start + -(-resident.weights // ERASE_BLOCK) * ERASE_BLOCK
        regions.append(FlashRegion(resident.name, start, end))
        start = end
    activations = [r.activations for r in residents]
    return Together(tuple(residents), max(activations), sum(activations), on_chip, tuple(regions), flash_size)
