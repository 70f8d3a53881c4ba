"""``n6convert diff DIR1 DIR2``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import typer

from n6convert.cli.options import AsJson, examples
from n6convert.cli.report import RunFolder

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command ``diff``."""
    app.command("diff", epilog=examples("n6convert diff build/before build/after"))(_diff)


def _diff(before: RunFolder, after: RunFolder, as_json: AsJson = False) -> None:
    """Show the differences between two runs: time, placement, memory, accuracy, recipe."""
    from n6convert.report.diff import differences
    from n6convert.report.html import damage_named, read_report

    old, new = read_report(before), read_report(after)
    with damage_named(before, after):
        changes = differences(old, new)
    if as_json:
        typer.echo(json.dumps([asdict(c) for c in changes], indent=2))
        return
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal

    table = Table("what", "before", "after", "", box=None, pad_edge=False)
    for change in changes:
        table.add_row(*(shown(cell) for cell in (change.what, _text(change.before), _text(change.after), change.unit)))
    terminal().print(table if changes else "no difference")


def _text(value: Any) -> str:
    return (
        "-"
        if value is None
        else f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )
