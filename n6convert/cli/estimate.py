"""``n6convert estimate MODEL`` and ``n6convert explain OPERATOR``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from n6convert.npu.explanation import Explanation
    from n6convert.npu.targets import Target

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add both commands to the command line."""
    app.command("estimate")(_estimate)
    app.command("explain")(_explain)


def _estimate(
    model: Annotated[Path, typer.Argument(help="A quantized model: .onnx (QDQ or QOperator) or INT8 .tflite.")],
    target: Annotated[str | None, typer.Option(help="Board and compiler version: stm32n6570-dk@4.0.")] = None,
    pools: Annotated[Path | None, typer.Option(help="The project's own *.mpool instead of the stock one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    html: Annotated[Path | None, typer.Option(help="Also write a page that shows the same facts.")] = None,
    combinations: Annotated[
        bool, typer.Option("--combinations", help="For a float transformer: ways of lowering it, side by side.")
    ] = False,
) -> None:
    """Predict where a model runs on the STM32N6, how long it takes and how much memory it needs."""
    from n6convert.npu.estimation import estimate
    from n6convert.npu.targets import DEFAULT_TARGET, load_target

    board = load_target(target or DEFAULT_TARGET, pools=pools)
    if combinations:
        _compare_combinations(model, board, as_json)
        return
    found = estimate(model, board)
    if html is not None:
        _write_page(found.facts(), html)
    if as_json:
        typer.echo(json.dumps(found.facts(), indent=2))
        return
    from rich.console import Console

    from n6convert.cli.tables import print_estimate

    print_estimate(found, Console())


def _compare_combinations(model: Path, target: Target, as_json: bool) -> None:
    from n6convert.graph.io import load
    from n6convert.rewrites.combinations import compare_combinations

    rows = compare_combinations(load(model), target)
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("", "rules", "hw", "hybrid", "sw", "ms (predicted as INT8)", box=None, pad_edge=False)
    for row in rows:
        time = f"{row.milliseconds:.1f} ({row.low:.1f} to {row.high:.1f})"
        table.add_row(row.name, ", ".join(row.rules) or "none", str(row.hw), str(row.hybrid), str(row.sw), time)
    Console().print(table)


def _write_page(facts: dict[str, Any], path: Path) -> None:
    """The page of a conversion, with the parts that an estimate has."""
    from n6convert import __version__
    from n6convert.report.html import write_report

    shared = {key: facts[key] for key in ("target", "model", "memory", "cycles", "latency", "advice", "warnings")}
    report = {
        "name": facts["model"],
        "n6convert": __version__,
        "weights": {"origin": "as in the file"},
        "placement": {"before": None, "after": facts["placement"]},
        **shared,
    }
    write_report(report, path.parent, path=path)


def _explain(
    operator: Annotated[str | None, typer.Argument(help="An ONNX operator (Softmax), or a citation ('#r15').")] = None,
    target: Annotated[str | None, typer.Option(help="Board and compiler version: stm32n6570-dk@4.0.")] = None,
    table: Annotated[bool, typer.Option("--table", help="All operators, all versions, as a Markdown table.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what decides where an operator runs, on what evidence, and what to do about it."""
    from n6convert.npu.explanation import explain, operator_table
    from n6convert.npu.targets import DEFAULT_TARGET, load_target
    from n6convert.reference import is_citation, paragraph

    if operator and is_citation(operator):
        text = paragraph(operator)
        typer.echo(json.dumps({"anchor": operator, "text": text}, indent=2) if as_json else text)
        return
    if table or operator is None:
        typer.echo(operator_table(), nl=False)
        return
    found = explain(operator, load_target(target or DEFAULT_TARGET).version)
    if as_json:
        typer.echo(json.dumps(_plain(found), indent=2))
        return
    from rich.console import Console

    from n6convert.cli.tables import print_explanation

    print_explanation(found, Console())


def _plain(found: Explanation) -> dict[str, Any]:
    rules = [
        {
            "rule": rule.name,
            "where": rule.where.value,
            "float": rule.float,
            "sentence": rule.sentence,
            "evidence": rule.evidence,
            "remedy": rule.remedy,
            "rewrite": rule.rewrite,
        }
        for rule in found.rules
    ]
    return {"op": found.op, "version": list(found.version), "rules": rules}
