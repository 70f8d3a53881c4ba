"""``n6convert sweep RECIPE`` with axes of its own, or ``n6convert sweep MODEL --imgsz 192,256 --set key=a,b``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n6convert.cli.options import (
    AsJson,
    Calibration,
    Evaluate,
    NoCache,
    Pools,
    Quiet,
    Samples,
    TargetName,
    Weights,
    examples,
    output,
)
from n6convert.types import Progress

if TYPE_CHECKING:
    from n6convert.cli.progress import Reporter
    from n6convert.sweeps.results import SweepResults

__all__ = ["register"]

_Output = Annotated[Path | None, output("build/sweep-MODEL")]
_MostTime = Annotated[float | None, typer.Option("--max-milliseconds", help="Name the best point within this time.")]
_MostDrop = Annotated[float | None, typer.Option("--max-drop", help="Name the best point that loses at most this.")]
_EXAMPLES = examples(
    "n6convert sweep movenet-sizes",
    "n6convert sweep yolov8n --weights seeded --imgsz 192,256 --set quantization.zero_points=speed,accuracy",
    "n6convert sweep yolov8n --weights yolov8n.pt --imgsz 192,256,320 --calibration images/ "
    "--evaluate instances.json --max-milliseconds 15 --max-drop 1",
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
    samples: Samples = None,
    evaluate: Evaluate = None,
    target: TargetName = None,
    max_milliseconds: _MostTime = None,
    max_drop: _MostDrop = None,
    pools: Pools = None,
    output: _Output = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at a time; default one per core.")] = None,
    dask: Annotated[str | None, typer.Option(help="Address of a Dask scheduler: tcp://host:8786.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
) -> None:
    """Convert a model over a grid of choices; resumable, one failure does not stop the rest."""
    from n6convert.cli.progress import progress_on_stderr
    from n6convert.sweeps import parse_axis, sweep

    fixed = {"calibration.samples": samples, "target": target}
    axes: dict[str, list[Any]] = {key: [value] for key, value in fixed.items() if value is not None}
    axes |= dict(parse_axis(text) for text in settings or [])
    if imgsz is not None:
        axes = dict([parse_axis(f"options.imgsz={imgsz}")]) | axes
    given = {
        "weights": weights, "calibration": _absolute(calibration), "evaluation": _absolute(evaluate),
        "compiler": None if pools is None else {"pools": str(pools.resolve())}, "cache": False if no_cache else None,
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
        if max_milliseconds is not None or max_drop is not None:
            _print_best(results, max_milliseconds, max_drop)
    if any(r.error for r in results):
        raise typer.Exit(1)


def _pointwise(report: Reporter) -> Progress:
    """Each finished point as a line that stays, and how many are to come."""

    def tell(what: str, done: int, total: int | None) -> None:
        report.note(f"{done} of {total}: {what}")
        report(_RUNNING, done, total)

    return tell


def _print_errors(results: SweepResults) -> None:
    """What went wrong, on stderr, where no table says it."""
    from n6convert.cli.terminal import say

    for r in results:
        if r.error:
            say(f"error: {r.label}: {r.error}", error=True)


def _absolute(path: str | None) -> str | None:
    """Workers may run in another folder."""
    return None if path is None else str(Path(path).resolve())


def _print(results: SweepResults, page: Path) -> None:
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal

    best = results.front
    metric = next((r.metric for r in results if r.metric), "least SQNR, dB")
    table = Table("point", metric, "lost", "ms", "RAM, KiB", "front", box=None, pad_edge=False)
    for column in table.columns[1:5]:
        column.justify, column.no_wrap = "right", True
    for r in results:
        memory = "" if r.activations is None else f"{r.activations / 1024:,.0f}"
        quality, time = ("" if v is None else f"{v:.2f}" for v in (r.quality, r.milliseconds))
        table.add_row(shown(r.label), quality, r.spread, time, memory, "[green]best[/]" if r in best else "")
    console = terminal()
    console.print(table)
    counts = sorted({r.samples for r in results if r.samples})
    if counts:
        many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
        console.print(f"lost: points of float, ± half the 95 % interval on {many} labeled samples", soft_wrap=True)
    for r in results:
        if r.error:
            console.print(f"[red]failed[/] {shown(r.label)}: {shown(r.error)}", markup=True, highlight=False)
    console.print(f"page: {shown(page)}", soft_wrap=True)


def _print_best(results: SweepResults, milliseconds: float | None, drop: float | None) -> None:
    """The answer to "best under 15 ms and 1 point"."""
    from n6convert.cli.terminal import shown, terminal

    best = results.best(max_milliseconds=milliseconds, max_drop=drop)
    limits = [f"{limit:g} {unit}" for limit, unit in ((milliseconds, "ms"), (drop, "points")) if limit is not None]
    answer = "no point" if best is None else shown(best.label) + (f": {best.folder}" if best.folder else "")
    terminal().print(f"best under {' and '.join(limits)}: {answer}", soft_wrap=True)
