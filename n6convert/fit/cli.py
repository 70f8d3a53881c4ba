"""``n6convert fit MODEL MODEL ...``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n6convert.report.words import kib

if TYPE_CHECKING:
    from n6convert.fit.plan import Resident, Together

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command ``fit`` to the application."""
    app.command("fit")(_fit)


def _fit(
    models: Annotated[list[str], typer.Argument(help="folders of runs, or model or recipe names", show_default=False)],
    target: Annotated[str, typer.Option(help="board and compiler version")] = "stm32n6570-dk@4.0",
    weights: Annotated[str, typer.Option(help="for names: pretrained, seeded or a path")] = "seeded",
    output: Annotated[Path, typer.Option(help="page to write")] = Path("build/fit.html"),
    as_json: Annotated[bool, typer.Option("--json", help="facts as JSON")] = False,
) -> None:
    """Say whether models fit one board together: shared buffers, flash map, time of a cascade."""
    from n6convert.cache import writing
    from n6convert.errors import UsageError
    from n6convert.fit import plan
    from n6convert.fit.page import write_page
    from n6convert.npu.targets import load_target

    if len(models) < 2:
        raise UsageError(
            "`fit` needs two models at least", found=", ".join(models), remedy="n6convert fit yolov8n-pose tinybert"
        )
    board = load_target(target)
    flash = next(pool for pool in board.pools if pool.constants and not pool.writable)
    on_chip = sum(pool.size for pool in board.pools if pool.writable and not pool.external)
    together = plan(
        [_resident(name, target, weights) for name in models],
        on_chip=on_chip,
        flash_start=flash.start,
        flash_size=flash.size,
    )
    with writing(output.parent):
        output.parent.mkdir(parents=True, exist_ok=True)
    write_page(output, together, target)
    if as_json:
        typer.echo(json.dumps(together.facts(), indent=2))
    else:
        _print(together, output)
    if not together.fits:
        raise typer.Exit(3)


def _resident(name: str, target: str, weights: str) -> Resident:
    from n6convert.fit import Resident
    from n6convert.report.html import damage_named

    report = _report_of(name, target, weights)
    with damage_named(Path(name)):
        return Resident.of(report)


def _report_of(name: str, target: str, weights: str) -> Mapping[str, Any]:
    """The report of a finished run, or of a conversion made now."""
    from n6convert import convert
    from n6convert.report.html import read_report

    if Path(name).exists() and Path(name).suffix != ".onnx":
        return read_report(Path(name))
    typer.echo(f"converting {name} ({weights} weights)", err=True)
    return convert(name, weights=weights, target=target).report.model_dump(mode="json", by_alias=True)


def _print(together: Together, page: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "activations", "weights at", "ms (predicted)", box=None, pad_edge=False)
    for resident, region in zip(together.residents, together.flash, strict=True):
        table.add_row(
            resident.name, kib(resident.activations), f"0x{region.start:08x}", f"{resident.milliseconds:.2f}"
        )
    best, low, high = together.milliseconds
    console = Console()
    console.print(table)
    verdict = "[green]fit[/]" if together.fits else "[red]do not fit[/]"
    console.print(
        f"together they {verdict}: {kib(together.shared)} of {kib(together.on_chip)} on-chip RAM in turn "
        f"({kib(together.separate)} if all buffers stay alive), {kib(together.flash_used)} of flash, "
        f"{best:.2f} ms a frame (likely {low:.2f} to {high:.2f})"
    )
    console.print(f"page: {page}", soft_wrap=True)
