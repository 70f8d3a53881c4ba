"""``n6convert sweep RECIPE`` with axes of its own, or ``n6convert sweep MODEL --imgsz 192,256 --set key=a,b``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from n6convert.sweep.results import PointResult

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command ``sweep`` to the application."""
    app.command("sweep")(_sweep)


def _sweep(
    model: Annotated[str, typer.Argument(help="model, or recipe; one with a `sweep` section brings its axes")],
    imgsz: Annotated[str | None, typer.Option(help="input sizes, e.g. 192,224,256")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="an axis: recipe.key=a,b (repeatable)")] = None,
    weights: Annotated[str | None, typer.Option(help="pretrained, seeded or a path")] = None,
    calibration: Annotated[str | None, typer.Option(help="folder or file of calibration samples")] = None,
    evaluate: Annotated[str | None, typer.Option(help="labelled samples")] = None,
    output: Annotated[Path | None, typer.Option(help="folder for the results; default build/sweep-MODEL")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes at a time; default one a core")] = None,
    dask: Annotated[str | None, typer.Option(help="address of a Dask scheduler, e.g. tcp://host:8786")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="results as JSON on stdout")] = False,
) -> None:
    """Convert a model over a grid of choices; resumable, one failure does not stop the rest."""
    from n6convert.sweep import parse_axis, sweep

    axes: dict[str, list[Any]] = dict(parse_axis(text) for text in settings or [])
    if imgsz is not None:
        axes = dict([parse_axis(f"options.imgsz={imgsz}")]) | axes
    given = {"weights": weights, "calibration": _absolute(calibration), "evaluation": _absolute(evaluate)}
    folder = output or Path("build") / f"sweep-{Path(model).stem}"
    results = sweep(
        model,
        axes,
        folder,
        common={key: value for key, value in given.items() if value is not None},
        workers=workers,
        dask=dask,
        progress=lambda what, done, total: typer.echo(f"{done} of {total}: {what}", err=True),
    )
    if as_json:
        typer.echo(json.dumps([asdict(r) for r in results], indent=2, default=str))
    else:
        _print(results, folder / "sweep.html")
    if any(r.error for r in results):
        raise typer.Exit(1)


def _absolute(path: str | None) -> str | None:
    """Workers may run in another folder."""
    return None if path is None else str(Path(path).resolve())


def _print(results: list[PointResult], page: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from n6convert.sweep import pareto

    best = pareto(results)
    table = Table("point", "quality", "ms", "activations", "front", box=None, pad_edge=False)
    for r in results:
        memory = "" if r.activations is None else f"{r.activations / 1024:,.0f} KiB"
        values = ["" if v is None else f"{v:.2f}" for v in (r.quality, r.milliseconds)]
        table.add_row(r.label, *values, memory, "[green]best[/]" if r in best else "")
    console = Console()
    console.print(table)
    for r in results:
        if r.error:
            console.print(f"[red]failed[/] {r.label}: {r.error}", markup=True, highlight=False)
    console.print(f"page: {page}", soft_wrap=True)
