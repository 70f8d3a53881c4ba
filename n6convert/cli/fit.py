"""``n6convert fit MODEL MODEL ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from n6convert.cli.options import AsJson, NoCache, Pools, Quiet, TargetName, Weights, examples, output
from n6convert.report.words import kib

if TYPE_CHECKING:
    from n6convert.fitting.cascade import Fit

__all__ = ["register"]

_Write = Annotated[
    Path | None, typer.Option("--write", help="Folder for the packages of one firmware, with a header and a source.")
]
_Output = Annotated[Path | None, output("build/fit.html")]
_EXAMPLES = examples(
    "n6convert fit build/yolov8n build/tinybert",
    "n6convert fit yolov8n-pose tinybert -o page.html",
    "n6convert fit build/yolov8n build/tinybert --write firmware",
)


def register(app: typer.Typer) -> None:
    """Add the command ``fit`` to the application."""
    app.command("fit", epilog=_EXAMPLES)(_fit)


def _fit(
    models: Annotated[list[str], typer.Argument(help="Folders of runs, or names of models.", show_default=False)],
    target: TargetName = None,
    weights: Weights = "seeded",
    pools: Pools = None,
    output: _Output = None,
    write: _Write = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
) -> None:
    """Check whether models fit on one board: shared buffers, flash map, time of a cascade in the order given."""
    from n6convert.cli.progress import progress_on_stderr
    from n6convert.cli.terminal import say
    from n6convert.fitting.cascade import fit

    with progress_on_stderr(quiet) as progress:
        found = fit(
            models, target=target, weights=weights or "seeded", pools=pools, output=output or Path("build/fit.html"),
            write=write, cache=not no_cache, progress=progress,
        )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    elif not quiet:
        _print(found)
        if write is not None:
            say(f"firmware: {write}")
    if not found.together.fits:
        raise typer.Exit(3)


def _print(found: Fit) -> None:
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal
    from n6convert.fitting.page import verdict

    together = found.together

    table = Table("turn", "activations", "results", "weights at", "ms (predicted)", box=None, pad_edge=False)
    for resident, region in zip(together.residents, together.flash, strict=True):
        table.add_row(
            shown(resident.name),
            kib(resident.activations),
            kib(resident.results),
            f"0x{region.start:08x}",
            f"{resident.milliseconds:.2f}",
        )
    best, low, high = together.milliseconds
    console = terminal()
    console.print(table)
    console.print(
        f"together they [{'green' if together.fits else 'red'}]{verdict(together)}[/]: {kib(together.shared)} of "
        f"{kib(together.on_chip)} on-chip RAM in turn ({kib(together.separate)} if none shared), "
        f"{kib(together.flash_used)} of flash, {best:.2f} ms a frame (likely {low:.2f} to {high:.2f})",
        highlight=False,
    )
    for line in found.advice:
        console.print(f"[yellow]{shown(line)}[/]", highlight=False)
    console.print(f"page: {shown(found.page)}", soft_wrap=True)
