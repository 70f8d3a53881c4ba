"""``n6convert sweep RECIPE`` with axes of its own, or ``n6convert sweep MODEL --imgsz 192,256 --set key=a,b``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n6convert.cli.options import AsJson, Calibration, Evaluate, Pools, Quiet, Weights, examples, output
from n6convert.types import Progress

if TYPE_CHECKING:
    from n6convert.cli.progress import Reporter
    from n6convert.sweeps.results import PointResult

__all__ = ["register"]

_Output = Annotated[Path | None, output("build/sweep-MODEL")]
_EXAMPLES = examples(
    "n6convert sweep movenet-sizes",
    "n6convert sweep yolov8n --weights seeded --imgsz 192,256 --set quantization.zero_points=speed,accuracy",
)


#: a sweep is one stage with one step
_RUNNING = "sweep: points"


def register(app: typer.Typer) -> None:
    """Add the command ``sweep`` to the application."""
    app.command("sweep", epilog=_EXAMPLES)(_sweep)


def _sweep(
    model: Annotated[str, typer.Argument(help="A model or recipe; one with a `sweep` section brings its axes.")],
    imgsz: Annotated[str | None, typer.Option(help="Input sizes: 192,224,256.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="An axis: recipe.key=a,b (repeatable).")] = None,
    weights: Weights = None,
    calibration: Calibration = None,
    evaluate: Evaluate = None,
    pools: Pools = None,
    output: _Output = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time; default one per core.")] = None,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Convert a model over a grid of choices; resumable, one failure does not stop the rest."""
    from n6convert.cli.progress import progress_on_stderr
    from n6convert.sweeps import parse_axis, sweep

    axes: dict[str, list[Any]] = dict(parse_axis(text) for text in settings or [])
    if imgsz is not None:
        axes = dict([parse_axis(f"options.imgsz={imgsz}")]) | axes
    given = {
        "weights": weights, "calibration": _absolute(calibration), "evaluation": _absolute(evaluate),
        "compiler": None if pools is None else {"pools": str(pools.resolve())},
    }  # fmt: skip
    folder = output or Path("build") / f"sweep-{Path(model).stem}"
    with progress_on_stderr(quiet) as report:
        report(_RUNNING, 0, None)
        results = sweep(
            model,
            axes,
            folder,
            common={key: value for key, value in given.items() if value is not None},
            workers=workers,
            dask=dask,
            progress=_pointwise(report),
        )
    if as_json:
        typer.echo(json.dumps([asdict(r) for r in results], indent=2, default=str))
    elif quiet:
        _print_errors(results)
    else:
        _print(results, folder / "sweep.html")
    if any(r.error for r in results):
        raise typer.Exit(1)


def _pointwise(report: Reporter) -> Progress:
    """Each finished point as a line that stays, and how many are to come."""

    def tell(what: str, done: int, total: int | None) -> None:
        report.note(f"{done} of {total}: {what}")
        report(_RUNNING, done, total)

    return tell


def _print_errors(results: list[PointResult]) -> None:
    """What went wrong, on stderr, where no table says it."""
    from n6convert.cli.terminal import shown

    for r in results:
        if r.error:
            typer.echo(f"error: {shown(r.label)}: {shown(r.error)}", err=True)


def _absolute(path: str | None) -> str | None:
    """Workers may run in another folder."""
    return None if path is None else str(Path(path).resolve())


def _print(results: list[PointResult], page: Path) -> None:
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal
    from n6convert.sweeps import pareto

    best = pareto(results)
    table = Table("point", "quality", "ms", "activations", "front", box=None, pad_edge=False)
    for r in results:
        memory = "" if r.activations is None else f"{r.activations / 1024:,.0f} KiB"
        values = ["" if v is None else f"{v:.2f}" for v in (r.quality, r.milliseconds)]
        table.add_row(shown(r.label), *values, memory, "[green]best[/]" if r in best else "")
    console = terminal()
    console.print(table)
    for r in results:
        if r.error:
            console.print(f"[red]failed[/] {shown(r.label)}: {shown(r.error)}", markup=True, highlight=False)
    console.print(f"page: {shown(page)}", soft_wrap=True)
