"""``n6convert report DIR`` and ``n6convert diff DIR1 DIR2``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]

Run = Annotated[Path, typer.Argument(help="folder of a run, or its report.json", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the commands ``report`` and ``diff`` to the application."""
    app.command("report")(_report)
    app.command("diff")(_diff)


def _report(
    folder: Run,
    output: Annotated[Path | None, typer.Option(help="file to write; default report.html beside it")] = None,
) -> None:
    """Draw report.html from a run's report.json, also for runs of an older version."""
    from n6convert.report.html import damage_named, read_report, write_report

    place = folder if folder.is_dir() else folder.parent
    report = read_report(folder)
    with damage_named(folder):
        drawn = write_report(report, place, path=output)
    typer.echo(str(drawn))


def _diff(
    before: Run, after: Run, as_json: Annotated[bool, typer.Option("--json", help="differences as JSON")] = False
) -> None:
    """Say what changed between two runs: time, placement, memory, accuracy, recipe."""
    from n6convert.report.diff import differences
    from n6convert.report.html import damage_named, read_report

    old, new = read_report(before), read_report(after)
    with damage_named(before, after):
        changes = differences(old, new)
    if as_json:
        typer.echo(json.dumps([asdict(c) for c in changes], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("what", "before", "after", "", box=None, pad_edge=False)
    for change in changes:
        table.add_row(change.what, _text(change.before), _text(change.after), change.unit)
    Console().print(table if changes else "no difference")


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
