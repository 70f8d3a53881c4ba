"""``n6convert diff DIR1 DIR2``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from n6convert.cli.options import AsJson, examples
from n6convert.cli.report import RunFolder
from n6convert.cli.terminal import shown

if TYPE_CHECKING:
    from rich.table import Table

    from n6convert.report.diff import Change

__all__ = ["register"]

_CHOICE = "recipe: "


def register(app: typer.Typer) -> None:
    """Add the command ``diff``."""
    app.command("diff", epilog=examples("n6convert diff build/before build/after"))(_diff)


def _diff(before: RunFolder, after: RunFolder, as_json: AsJson = False) -> None:
    """Show the differences between two runs: time, placement, memory, accuracy, recipe."""
    from n6convert.report.diff import differences
    from n6convert.report.html import read_report, report_errors

    old, new = read_report(before), read_report(after)
    with report_errors(before, after):
        changes = differences(old, new)
    if as_json:
        rows = [asdict(c) | {"percent": c.percent, "verdict": c.verdict} for c in changes]
        typer.echo(json.dumps(rows, indent=2))
        return
    from n6convert.cli.terminal import terminal

    console = terminal()
    if not changes:
        console.print("no difference")
        return
    figures = [change for change in changes if not change.what.startswith(_CHOICE)]
    if figures:
        console.print(_figures(figures))
    choices = [change for change in changes if change.what.startswith(_CHOICE)]
    if choices:
        console.print("\nchosen differently:" if figures else "chosen differently:")
    for change in choices:  # long paths stand below each other: what differs is often their end
        console.print(f"  {shown(change.what.removeprefix(_CHOICE))}", soft_wrap=True)
        for sign, value in (("-", change.before), ("+", change.after)):
            console.print(f"    {sign} {shown(_text(value))}", soft_wrap=True)


def _figures(changes: Sequence[Change]) -> Table:
    from rich.table import Table

    table = Table("what", "before", "after", "", "change", "", box=None, pad_edge=False)
    for column in (1, 2, 4):
        table.columns[column].justify, table.columns[column].no_wrap = "right", True
    for change in changes:
        color = {"better": "green", "worse": "red"}.get(change.verdict)
        verdict = f"[{color}]{change.verdict}[/]" if color else ""
        percent = "" if change.percent is None else f"{change.percent:+.1f} %"
        cells = (shown(cell) for cell in (change.what, _text(change.before), _text(change.after), change.unit))
        table.add_row(*cells, percent, verdict)
    return table


def _text(value: Any) -> str:
    return (
        "-"
        if value is None
        else f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool)
        else str(value)
    )
