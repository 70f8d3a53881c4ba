"""``n6convert compare MODEL REPORT...``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from n6convert.npu.compare import Comparison, Line
    from n6convert.npu.st import StReport

__all__ = ["print_comparison", "register", "show"]

_EXAMPLES = examples("n6convert compare model_int8.onnx st_ai_output/network_generate_report.txt")
_SHOWN = 12
"""Differences between the schedules that the terminal shows; ``--json`` has them all."""


def register(app: typer.Typer) -> None:
    """Add the command ``compare``."""
    app.command("compare", epilog=_EXAMPLES)(_compare)


def _compare(
    model: Annotated[Path, typer.Argument(help="The quantized model that was compiled (.onnx or .tflite).")],
    reports: Annotated[list[Path], typer.Argument(help="Its report, c_info.json, network.csv or validate log.")],
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
) -> None:
    """Compare the prediction for a model with ST Edge AI's report of it.

    What is not given is taken from the report: version, clocks, pools, epoch controller, types and positions of inputs
    and outputs, and who allocates them.
    """
    from n6convert.api.comparing import compare_report
    from n6convert.npu.st import read_report

    report = read_report(*reports)
    given = compiler_options(
        pools=pools, input_type=input_type, output_type=output_type, input_channels=input_channels,
        output_channels=output_channels, epoch_controller=epoch_controller,
        no_epoch_controller=no_epoch_controller, clocks=clocks, flash=flash,
        no_inputs=no_inputs, no_outputs=no_outputs,
    )  # fmt: skip
    print_comparison(compare_report(model, report, target, given), report, as_json)


def print_comparison(comparison: Comparison, report: StReport, as_json: bool) -> None:
    """Print a comparison, for a person or as JSON.

    Args:
        comparison: of a prediction with a report.
        report: what ST's tool wrote.
        as_json: print JSON instead of tables.
    """
    if as_json:
        typer.echo(json.dumps(comparison.as_dict(), indent=2))
        return

    from n6convert.cli.terminal import terminal

    show(comparison, report, terminal())


def show(comparison: Comparison, report: StReport, console: Console) -> None:
    """Tables for a person: totals, operators, pools, and where the schedules part.

    Args:
        comparison: of a prediction with a report.
        report: what ST's tool wrote.
        console: where it is printed.
    """
    from rich.table import Table as RichTable

    from n6convert.cli.terminal import shown

    model, core = shown(report.model_name or "model"), shown(report.core_version or "?")
    console.print(f"[bold]{model}[/bold], ST Edge AI Core {core}")
    for title, lines in (
        ("totals", comparison.totals),
        ("software operators", comparison.sw),
        ("hybrid operators", comparison.hybrid),
        ("pools, bytes", comparison.pools),
    ):
        if lines:
            console.print(_table(RichTable(title=title, title_justify="left"), lines))
    if comparison.named:
        console.print(f"{comparison.common} epochs agree in order")
    for difference in comparison.differences[:_SHOWN]:
        left, right = shown(_run(difference.predicted)), shown(_run(difference.truth))
        console.print(
            f"  after epoch {difference.after}: predicted [cyan]{left}[/cyan], compiled [yellow]{right}[/yellow]"
        )
    if len(comparison.differences) > _SHOWN:
        console.print(f"  and {len(comparison.differences) - _SHOWN} more (--json lists all)")
    for note in comparison.notes:
        console.print(f"[dim]{shown(note)}[/dim]")


def _table(table: Table, lines: Sequence[Line]) -> Table:
    from n6convert.cli.terminal import shown

    for heading in ("", "predicted", "ST", "error"):
        table.add_column(heading, justify="left" if not heading else "right")
    for line in lines:
        error = line.error
        style = "green" if line.equal else "yellow" if error is not None and abs(error) <= 0.1 else "red"
        text = "" if error is None else f"{error:+.1%}"
        table.add_row(shown(line.name), _number(line.predicted), _number(line.truth), f"[{style}]{text}[/{style}]")
    return table


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def _run(labels: Sequence[str]) -> str:
    if not labels:
        return "nothing"
    shown = ", ".join(labels[:4])
    return shown if len(labels) <= 4 else f"{shown}, ... ({len(labels)} epochs)"
