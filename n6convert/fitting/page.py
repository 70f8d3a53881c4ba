"""Drawing of several models in the memories of one board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from n6convert.fitting.plan import PoolShare, Together
from n6convert.report.render import render_page
from n6convert.report.svg import Band, Block, Row, bars, occupancy, ribbon
from n6convert.report.words import kib

__all__ = ["verdict", "write_page"]


def verdict(together: Together) -> str:
    """One line: what the page's title and the terminal say."""
    if not together.fits:
        return "do not fit together"
    return f"fit together, with {kib(together.external)} in external RAM" if together.external else "fit together"


def write_page(path: Path, together: Together, target: str, advice: Sequence[str] = ()) -> None:
    """Draw RAM over one frame, flash and time into a self-contained file.

    Args:
        path: of the HTML file.
        together: the models on one board.
        target: board and compiler version, for the title.
        advice: sentences.

    Raises:
        OutputError: the file cannot be written.
    """
    best, low, high = together.milliseconds
    residents = together.residents
    render_page(
        path,
        "fit.html.j2",
        title=" + ".join(r.name for r in residents),
        verdict=verdict(together),
        target=target,
        advice=advice,
        time=f"{best:.1f} ms a frame, likely {low:.1f} to {high:.1f} ms; {1000 / best:.1f} frames a second"
        if best
        else "",
        legend=[(r.name, _kind(i)) for i, r in enumerate(residents)],
        memory=_memory(together),
        totals=bars(_totals(together), "Activation memory; dashed: what the chip has"),
        pools=[p for p in together.pools if p.used],
        pool_rows=[_pool_row(pool) for pool in together.pools if pool.used],
        kept=[(k.name, kib(k.size), k.pool or "no room") for k in together.kept],
        frame=ribbon([Block(r.milliseconds, _kind(i), _time(r)) for i, r in enumerate(residents)], "One frame"),
        times=[(r.name, f"{r.milliseconds:.2f}", f"{r.low:.2f} to {r.high:.2f}") for r in residents],
        flash=ribbon([Block(r.size, _kind(i), _span(r)) for i, r in enumerate(together.flash)], "Weights in flash"),
        regions=[(r.name, f"0x{r.start:08x}", f"0x{r.end:08x}", kib(r.size)) for r in together.flash],
        free=kib(max(0, together.flash_size - together.flash_used)),
    )


def _memory(together: Together) -> str:
    bands = [_band(pool, together) for pool in together.pools if pool.used or not pool.external]
    return occupancy(bands, [r.milliseconds for r in together.residents], "What each memory holds during one frame")


def _band(pool: PoolShare, together: Together) -> Band:
    turns = []
    for turn, resident in enumerate(together.residents):
        arena = Block(pool.arenas[turn], _kind(turn), f"{resident.name} runs: {kib(pool.arenas[turn])} in {pool.name}")
        waiting = [
            Block(k.size, f"{_kind(k.turn)} waits", f"results of {k.name} wait: {kib(k.size)} in {pool.name}")
            for k in together.kept
            if k.pool == pool.name and k.turn < turn
        ]
        turns.append([block for block in (arena, *waiting) if block.width])
    return Band(pool.name, pool.size, f"{kib(pool.used)} of {kib(pool.size)}", turns)


def _pool_row(pool: PoolShare) -> dict[str, Any]:
    return {
        "name": pool.name,
        "size": kib(pool.size),
        "turns": [kib(arena) if arena else "" for arena in pool.arenas],
        "kept": kib(max(pool.kept)) if any(pool.kept) else "",
        "used": kib(pool.used),
    }


def _totals(together: Together) -> list[Row]:
    limit = float(together.on_chip)
    rows = [Row(r.name, r.activations, kib(r.activations), _kind(i), limit) for i, r in enumerate(together.residents)]
    return [
        *rows,
        Row("in turn, shared", together.shared, kib(together.shared), "hw", limit),
        Row("if none shared", together.separate, kib(together.separate), "none", limit),
    ]


def _time(resident: Any) -> str:
    return f"{resident.name}: {resident.milliseconds:.2f} ms"


def _span(region: Any) -> str:
    return f"{region.name}: {region.start:#x} to {region.end:#x}"


def _kind(index: int) -> str:
    return f"p{index % 7}"
