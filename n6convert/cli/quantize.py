"""``n6convert quantize FILE.onnx`` and ``n6convert debug MODEL``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from n6convert.quantization.quantizer import QuantizationResult
    from n6convert.run import Progress, Run

__all__ = ["register"]

_Settings = Annotated[list[str] | None, typer.Option("--set", help="recipe key=value, e.g. quantization.ranges=mse")]
_Calibration = Annotated[str | None, typer.Option(help="folder, COCO json, .npz, .txt or .tsv", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands ``quantize`` and ``debug`` to the application."""
    app.command("quantize")(_quantize)
    app.command("debug")(_debug)


def _quantize(
    file: Annotated[Path, typer.Argument(help="float ONNX file", show_default=False)],
    calibration: _Calibration = None,
    samples: Annotated[int, typer.Option(help="calibration samples, at most")] = 64,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="default: NAME.int8.onnx")] = None,
    ranges: Annotated[Path | None, typer.Option(help="use the ranges of this ranges.json")] = None,
    save_ranges: Annotated[Path | None, typer.Option(help="write the ranges that were found")] = None,
    settings: _Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="facts as JSON")] = False,
    force: Annotated[bool, typer.Option("--force", help="replace files of yours under the outputs' names")] = False,
) -> None:
    """Turn a float ONNX file into INT8 QDQ as the NPU takes it: no operator stays in float."""
    from n6convert.cli.console import progress_on_stderr
    from n6convert.graph.io import save
    from n6convert.outputs import MODEL, RANGES, refuse_loss
    from n6convert.quantization import ranges_io

    path = output or file.with_suffix(".int8.onnx")
    inputs = [file, *(Path(given) for given in (calibration, ranges) if given)]
    refuse_loss(path, MODEL, inputs=inputs, force=force)
    if save_ranges is not None:
        refuse_loss(save_ranges, RANGES, inputs=inputs if save_ranges != ranges else [file], force=force)
    extra = [*(settings or []), f"calibration.samples={samples}"]
    if ranges is not None:
        extra.append(f"quantization.ranges_file={ranges}")
    with progress_on_stderr(quiet=as_json) as progress:
        result = _quantized(_run(str(file), calibration, extra, ("export",), progress), "export")
    save(result.model, path)
    if save_ranges is not None:
        ranges_io.save_ranges(result.ranges, save_ranges)
    if as_json:
        typer.echo(json.dumps(result.facts | {"file": str(path)}, indent=2))
    else:
        _print_methods(result, path)


def _debug(
    model: Annotated[str, typer.Argument(help="model, recipe or float ONNX file", show_default=False)],
    calibration: _Calibration = None,
    samples: Annotated[int, typer.Option(help="calibration samples, at most")] = 16,
    count: Annotated[int, typer.Option(help="tensors to look at")] = 10,
    settings: _Settings = None,
    as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False,
) -> None:
    """Show where INT8 loses accuracy: the worst tensors, alone and left out, with cause and remedy."""
    from n6convert.cli.console import progress_on_stderr
    from n6convert.quantization.judge import Judge
    from n6convert.quantization.prepare import prepare
    from n6convert.quantization.sensitivity import leave_one_out, one_at_a_time

    extra = [*(settings or []), f"calibration.samples={samples}"]
    with progress_on_stderr(quiet=as_json) as progress:
        run = _run(model, calibration, extra, ("export", "simplify", "rewrite"), progress)
        result = _quantized(run, "rewrite")
    judge = Judge(prepare(run.artifacts["rewrite"].load()), list(run.sampling.held_back()))
    records = result.facts["worst"][:count]
    names = [r["name"] for r in records]
    alone, left_out = one_at_a_time(result.model, judge, names), leave_one_out(result.model, judge, names)
    for record in records:
        record |= {"alone_db": alone[record["name"]], "left_out_gain_db": left_out[record["name"]]}
    if as_json:
        typer.echo(json.dumps({"outputs_sqnr_db": result.facts["outputs_sqnr_db"], "worst": records}, indent=2))
    else:
        _print_worst(records, result.facts["outputs_sqnr_db"])


def _run(
    model: str, calibration: str | None, settings: Sequence[str], stages: Sequence[str], progress: Progress
) -> Run:
    """The pipeline's state after the named stages, from the cache where they ran before."""
    from n6convert.api import make_draft
    from n6convert.cache import Cache
    from n6convert.pipeline import STAGES, run_stages
    from n6convert.recipes_io import finish, parse_setting
    from n6convert.run import Run

    draft = make_draft(model)
    if calibration is not None:
        draft.set(("calibration", "source"), calibration, "--calibration")
    for setting in settings:
        draft.set(*parse_setting(setting), f"--set {setting}")
    run = Run(finish(draft), draft, Cache(), progress)
    run_stages(run, [s for s in STAGES if s.name in stages])
    return run


def _quantized(run: Run, source: str) -> QuantizationResult:
    from n6convert.quantization.quantizer import quantize
    from n6convert.stages.accepting import Accepting
    from n6convert.stages.quantize import predictors

    model = run.artifacts[source].load()
    accepting = Accepting(run, model)
    return quantize(
        model,
        run.sampling.calibration,
        run.recipe.quantization,
        held_back=run.sampling.held_back,
        **predictors(run.recipe.target),
        accepted=accepting if accepting.limited else None,
        seed=run.recipe.seed,
        progress=run.progress,
    )


def _print_methods(result: QuantizationResult, path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("method", "SQNR dB", "closeness dB", "kept", title=f"{path}")
    for method in result.facts["methods"]:
        closer = f"{method['closeness_db']:.2f}"
        table.add_row(method["method"], f"{method['sqnr_db']:.2f}", closer, "yes" if method["kept"] else "no")
    console = Console()
    console.print(table)
    if result.facts["methods_not_needed"]:
        console.print(f"not needed: {', '.join(result.facts['methods_not_needed'])}", markup=False)
    for text in result.facts["warnings"]:
        console.print(f"warning: {text}", style="yellow", markup=False)


def _print_worst(records: Sequence[Mapping[str, Any]], outputs: Mapping[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name, decibel in outputs.items():
        console.print(f"output {name}: {decibel:.1f} dB", markup=False)
    table = Table("tensor", "SQNR dB", "alone dB", "gain if float dB", "cause")
    for r in records:
        numbers = (f"{r[key]:.1f}" for key in ("sqnr_db", "alone_db", "left_out_gain_db"))
        table.add_row(r["name"], *numbers, r["cause"])
    console.print(table)
    for cause, remedy in {r["cause"]: r["remedy"] for r in records}.items():
        console.print(f"{cause}: {remedy}", markup=False, highlight=False)
