"""Several models on one board, run in a cascade: one after another, once a frame.

The compiler gives every model the same pools, fastest first ([#allocation]), so the activation arenas of models that
take turns lie over each other: a pool must hold the largest of them, not their sum. Two things add up: weights, which
lie side by side in flash ([#memory-pools]), and results that wait for the application while later models run. Inputs do
not: they are written right before a model's turn, into its own arena.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from n6convert.fitting.resident import Resident
from n6convert.package.flash import blocks

if TYPE_CHECKING:
    from n6convert.npu.st.mpool import MemoryPool

__all__ = ["FlashRegion", "Kept", "PoolShare", "Together", "plan"]

#: share of the predicted weights that is reserved on top of them: predictions are within 5 % for nearly all networks
_MARGIN = 1 / 16


@dataclass(frozen=True)
class FlashRegion:
    """A model's place in the flash, ``[start, end)``: ``weights`` bytes from the start on, then its tables.

    Each table, and the weights, have erase blocks of their own.
    """

    name: str
    start: int
    end: int
    weights: int

    @property
    def size(self) -> int:
        """Bytes of the region."""
        return self.end - self.start


@dataclass(frozen=True)
class Kept:
    """Results of turn ``turn`` that wait while later models run; ``pool`` is None where no pool has room."""

    name: str
    turn: int
    size: int
    pool: str | None


@dataclass(frozen=True)
class PoolShare:
    """One pool over a frame: ``arenas`` and ``kept`` bytes in every turn."""

    name: str
    size: int
    external: bool
    arenas: tuple[int, ...]
    kept: tuple[int, ...]

    @property
    def used(self) -> int:
        """Most bytes in any turn."""
        return max(a + k for a, k in zip(self.arenas, self.kept, strict=True))


@dataclass(frozen=True)
class Together:
    """Several models on one board.

    Attributes:
        residents: in the order in which a frame runs them.
        pools: what each pool holds in each turn, fastest first.
        kept: results that wait for later turns.
        flash: the flash map, in the order given.
        flash_size: bytes of flash for weights.
    """

    residents: tuple[Resident, ...]
    pools: tuple[PoolShare, ...]
    kept: tuple[Kept, ...]
    flash: tuple[FlashRegion, ...]
    flash_size: int

    @property
    def milliseconds(self) -> tuple[float, float, float]:
        """Predicted time of one frame with every model run once: best guess, low, high."""
        rows = [(r.milliseconds, r.low, r.high) for r in self.residents]
        best, low, high = (sum(column) for column in zip(*rows, strict=True))
        return best, low, high

    @property
    def on_chip(self) -> int:
        """Bytes of on-chip RAM for activations."""
        return sum(pool.size for pool in self.pools if not pool.external)

    @property
    def shared(self) -> int:
        """Most bytes of RAM that any turn asks for, results that wait included."""
        waiting = [sum(kept.size for kept in self.kept if kept.turn < turn) for turn in range(len(self.residents))]
        return max(r.activations + bytes_ for r, bytes_ in zip(self.residents, waiting, strict=True))

    @property
    def separate(self) -> int:
        """Bytes if every model had its arena to itself: the sum."""
        return sum(resident.activations for resident in self.residents)

    @property
    def external(self) -> int:
        """Bytes of activations and results in external RAM, at most at once."""
        return sum(pool.used for pool in self.pools if pool.external)

    @property
    def flash_used(self) -> int:
        """Bytes of flash that all models take."""
        return sum(region.size for region in self.flash)

    @property
    def missing(self) -> int:
        """Bytes of RAM that find no place."""
        return max(r.missing for r in self.residents) + sum(kept.size for kept in self.kept if kept.pool is None)

    @property
    def fits(self) -> bool:
        """Whether everything has a place on the board; external RAM counts, at its price in time."""
        return not self.missing and self.flash_used <= self.flash_size

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        best, low, high = self.milliseconds
        return {
            "fits": self.fits,
            "models": [_model(resident) for resident in self.residents],
            "activations": {
                "shared": self.shared, "separate": self.separate, "on_chip": self.on_chip, "external": self.external,
                "missing": self.missing, "pools": [vars(pool) | {"used": pool.used} for pool in self.pools],
                "kept": [vars(kept) for kept in self.kept],
            },
            "flash": {
                "used": self.flash_used, "size": self.flash_size,
                "map": [{"name": r.name, "start": f"0x{r.start:08x}", "end": f"0x{r.end:08x}"} for r in self.flash],
            },
            "frame": {
                "milliseconds": best, "low": low, "high": high, "frames_per_second": 1000 / best if best else None,
            },
        }  # fmt: skip


def plan(residents: Sequence[Resident], pools: Sequence[MemoryPool]) -> Together:
    """Lay out models that take turns, in the order given.

    Args:
        residents: at least one.
        pools: of the board, fastest first; the one that is read-only holds the weights.
    """
    flash = next(pool for pool in pools if pool.constants and not pool.writable)
    writable = [pool for pool in pools if pool.writable and pool.size]
    shares, kept = _keep_results(residents, [_arenas(pool, residents) for pool in writable])
    return Together(tuple(residents), tuple(shares), tuple(kept), _flash_map(residents, flash.start), flash.size)


def _arenas(pool: MemoryPool, residents: Sequence[Resident]) -> PoolShare:
    arenas = tuple(resident.arena.get(pool.name, 0) for resident in residents)
    return PoolShare(pool.name, pool.size, pool.external, arenas, (0,) * len(arenas))


def _keep_results(residents: Sequence[Resident], shares: list[PoolShare]) -> tuple[list[PoolShare], list[Kept]]:
    """Results wait in the slowest on-chip pool with room in all later turns, before any external one."""
    order = [p.name for p in reversed(shares) if not p.external] + [p.name for p in shares if p.external]
    found, kept = {pool.name: pool for pool in shares}, []
    for turn, resident in enumerate(residents[:-1]):
        if not resident.results:
            continue
        home = next((name for name in order if _room(found[name], turn) >= resident.results), None)
        kept.append(Kept(resident.name, turn, resident.results, home))
        if home is not None:
            found[home] = _with_kept(found[home], turn, resident.results)
    return list(found.values()), kept


def _room(pool: PoolShare, turn: int) -> int:
    """Bytes that are free in every turn after ``turn``."""
    return pool.size - max(a + k for a, k in zip(pool.arenas[turn + 1 :], pool.kept[turn + 1 :], strict=True))


def _with_kept(pool: PoolShare, turn: int, size: int) -> PoolShare:
    kept = tuple(k + (size if later > turn else 0) for later, k in enumerate(pool.kept))
    return PoolShare(pool.name, pool.size, pool.external, pool.arenas, kept)


def _flash_map(residents: Sequence[Resident], start: int) -> tuple[FlashRegion, ...]:
    """Models one behind the other."""
    regions = []
    for resident in residents:
        alone = resident.weights - sum(resident.tables.values())
        weights = blocks(alone + int(alone * _MARGIN))
        end = start + weights + sum(map(blocks, resident.tables.values()))
        regions.append(FlashRegion(resident.name, start, end, weights))
        start = end
    return tuple(regions)


def _model(resident: Resident) -> dict[str, Any]:
    return vars(resident) | {"activations": resident.activations}
