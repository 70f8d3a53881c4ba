"""``n6convert estimate MODEL``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n6convert.cli.options import (
    AsJson,
    Clocks,
    EpochController,
    Flash,
    InputChannels,
    InputsElsewhere,
    InputType,
    NoEpochController,
    OutputChannels,
    OutputsElsewhere,
    OutputType,
    Pools,
    TargetName,
    compiler_options,
    examples,
)
from n6convert.errors import RecipeError

if TYPE_CHECKING:
    from n6convert.npu.options import CompilerOptions
    from n6convert.npu.targets import Target
    from n6convert.recipe.draft import Draft

__all__ = ["register"]

_EXAMPLES = examples(
    "n6convert estimate model_int8.onnx",
    "n6convert estimate model.tflite --target stm32n6570-dk@3.0 --html page.html",
    "n6convert estimate yolov8n --largest",
)


def register(app: typer.Typer) -> None:
    """Add the command ``estimate``."""
    app.command("estimate", epilog=_EXAMPLES)(_estimate)


def _estimate(
    model: Annotated[
        Path, typer.Argument(help="A quantized model: .onnx (QDQ or QOperator) or INT8 .tflite; a name with --largest.")
    ],
    target: TargetName = None,
    pools: Pools = None,
    input_type: InputType = None,
    output_type: OutputType = None,
    input_channels: InputChannels = None,
    output_channels: OutputChannels = None,
    epoch_controller: EpochController = False,
    no_epoch_controller: NoEpochController = False,
    clocks: Clocks = None,
    flash: Flash = None,
    no_inputs: InputsElsewhere = False,
    no_outputs: OutputsElsewhere = False,
    as_json: AsJson = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page that shows the same facts.")] = None,
    combinations: Annotated[
        bool, typer.Option("--combinations", help="For a float transformer: ways of lowering it, side by side.")
    ] = False,
    largest: Annotated[
        bool, typer.Option("--largest", help="For a registered model: the largest input that stays on the chip.")
    ] = False,
) -> None:
    """Predict where a model runs on the STM32N6, how long it takes and how much memory it needs."""
    from n6convert.npu.estimation import estimate
    from n6convert.npu.targets import DEFAULT_TARGET, load_target
    from n6convert.recipe.project import default_target

    options = compiler_options(
        pools=pools, input_type=input_type, output_type=output_type, input_channels=input_channels,
        output_channels=output_channels, epoch_controller=epoch_controller,
        no_epoch_controller=no_epoch_controller, clocks=clocks, flash=flash,
        no_inputs=no_inputs, no_outputs=no_outputs,
    )  # fmt: skip
    if largest:
        _print_largest(str(model), target, options, as_json)
        return
    board = load_target(target or default_target() or DEFAULT_TARGET)
    if combinations:
        _compare_combinations(model, options.on(board), as_json)
        return
    found = estimate(model, board, options=options)
    if html is not None:
        _write_page(found.facts(), html)
    if as_json:
        typer.echo(json.dumps(found.facts(), indent=2))
        return
    from n6convert.cli.tables import print_estimate
    from n6convert.cli.terminal import terminal

    print_estimate(found, terminal())


def _print_largest(model: str, target: str | None, options: CompilerOptions, as_json: bool) -> None:
    from n6convert.cli.drafts import draft_of
    from n6convert.cli.terminal import say, terminal
    from n6convert.fitting.largest import largest_input

    if Path(model).suffix.lower() in {".onnx", ".tflite"}:
        raise RecipeError(
            "--largest converts a registered model at several sizes, and a file has only one",
            found=model,
            remedy="give a name (`n6convert models`); `estimate` alone says what half the pixels would save",
        )

    def tell(what: str, done: int, total: int | None) -> None:
        say(f"trying {what}", error=True)

    def draft() -> Draft:
        made = draft_of(model, target=target)
        for key, value in options.settings().items():
            made.set(key, value, "an option")
        return made

    best, trials = largest_input(draft, progress=tell)
    if as_json:
        facts = {"largest": asdict(best) if best else None, "trials": [asdict(trial) for trial in trials]}
        typer.echo(json.dumps(facts, indent=2))
        return
    from rich.table import Table

    table = Table("size", "ms (predicted)", "activations", "in external RAM", "", box=None, pad_edge=False)
    for trial in sorted(trials, key=lambda trial: trial.size):
        time = f"{trial.milliseconds:.1f} ({trial.low:.1f} to {trial.high:.1f})"
        verdict = "stays on the chip" if trial.fits else "leaves the chip" if trial.external else "does not fit"
        table.add_row(str(trial.size), time, f"{trial.activations:,} B", f"{trial.external:,} B", verdict)
    console = terminal()
    console.print(table)
    console.print(
        f"the largest input that stays on the chip: {best.size} x {best.size}, {best.milliseconds:.1f} ms"
        if best
        else "not even the smallest input stays on the chip"
    )


def _compare_combinations(model: Path, target: Target, as_json: bool) -> None:
    from n6convert.graph.io import load
    from n6convert.rewrites.combinations import compare_combinations

    rows = compare_combinations(load(model), target)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal

    table = Table("", "rules", "hw", "hybrid", "sw", "ms (predicted as INT8)", box=None, pad_edge=False)
    for row in rows:
        time = f"{row.milliseconds:.1f} ({row.low:.1f} to {row.high:.1f})"
        cells = (row.name, ", ".join(row.rules) or "none", row.hw, row.hybrid, row.sw, time)
        table.add_row(*map(shown, cells))
    terminal().print(table)


def _write_page(facts: dict[str, Any], path: Path) -> None:
    """The page of a conversion, with the parts that an estimate has."""
    from n6convert.report.html import write_report
    from n6convert.report.notebook import as_report

    write_report(as_report(facts), path.parent, path=path)
