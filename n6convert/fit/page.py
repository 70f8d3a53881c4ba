"""The picture of several models on one board."""

from __future__ import annotations

from pathlib import Path

from n6convert.fit.plan import Together
from n6convert.report.render import render_page
from n6convert.report.svg import Block, Row, bars, ribbon
from n6convert.report.words import kib

__all__ = ["write_page"]


def write_page(path: Path, together: Together, target: str) -> None:
    """Draw RAM, flash and one frame's time into a self-contained file.

    Raises:
        OutputError: the file cannot be written.
    """
    best, low, high = together.milliseconds
    limit = float(together.on_chip)
    memory = [
        Row(r.name, r.activations, kib(r.activations), _kind(i), limit) for i, r in enumerate(together.residents)
    ]
    memory += [
        Row("in turn, shared", together.shared, kib(together.shared), "hw", limit),
        Row("all alive at once", together.separate, kib(together.separate), "none", limit),
    ]
    frame = [
        Block(r.milliseconds, _kind(i), f"{r.name}: {r.milliseconds:.2f} ms") for i, r in enumerate(together.residents)
    ]
    flash = [
        Block(r.end - r.start, _kind(i), f"{r.name}: {r.start:#x} to {r.end:#x}") for i, r in enumerate(together.flash)
    ]
    free = together.flash_size - together.flash_used
    flash += [Block(free, "none", f"free: {kib(free)}")] if free > 0 else []
    render_page(
        path,
        "fit.html.j2",
        title=" + ".join(r.name for r in together.residents),
        target=target,
        fits=together.fits,
        time=f"{best:.1f} ms a frame, likely {low:.1f} to {high:.1f} ms; {1000 / best:.1f} frames a second"
        if best
        else "",
        legend=[(r.name, _kind(i)) for i, r in enumerate(together.residents)],
        memory=bars(memory, "Activation memory; dashed: what the chip has"),
        frame=ribbon(frame, "One frame: every model once, in turn"),
        flash=ribbon(flash, "Weights in flash"),
        regions=[(r.name, f"0x{r.start:08x}", f"0x{r.end:08x}", kib(r.end - r.start)) for r in together.flash],
    )


def _kind(index: int) -> str:
    return f"p{index % 7}"
