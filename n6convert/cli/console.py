"""What the terminal shows of results: tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from n6convert.cli.closing import next_command, page_link, program_name, time_bar
from n6convert.cli.terminal import shown, terminal

if TYPE_CHECKING:
    from n6convert.doctor import Check
    from n6convert.registry import ModelEntry
    from n6convert.results import ConversionResult

__all__ = ["print_checks", "print_models", "print_result"]

_MODEL = "model "
_LINE = 76
_COLORS = {"ready": "green", "broken": "red", "duplicate": "red"}


def print_result(result: ConversionResult) -> None:
    """The final table."""
    rows = list(_rows(result))
    width = max(len(label) for label, _ in rows)
    console = _stdout()
    for label, value in rows:
        console.print(f"[bold]{label:<{width}}[/]  {value}", soft_wrap=True)
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/] {shown(warning)}", soft_wrap=True)
    _close(console, result, width)


def _close(console: Console, result: ConversionResult, width: int) -> None:
    """A picture of the time where there is a terminal, the page and the next command."""
    report = result.report.to_dict()
    picture = time_bar(report) if console.is_terminal else None
    page = result.folder / "report.html"
    last: list[tuple[str, Text]] = [("time goes to", picture)] if picture is not None else []
    last += [("page", page_link(page) if console.is_terminal else Text(str(page)))]
    last += [("next", Text(next_command(report, result.folder)))]
    for label, value in last:
        console.print(Text.assemble((f"{label:<{width}}", "bold"), "  ", value), soft_wrap=True)


def print_models(entries: Sequence[ModelEntry]) -> None:
    """Ready models by the distribution that brings them, then a row for each that cannot run."""
    console = _stdout()
    for (distribution, version), group in groupby(
        (e for e in entries if e.state == "ready"), key=lambda e: (e.distribution, e.version)
    ):
        console.print(f"[bold]{shown(distribution)}[/] {shown(version)}: [green]ready[/]", soft_wrap=True)
        for line in wrap("  ".join(entry.name for entry in group), _LINE, break_on_hyphens=False):
            console.print(f"  {shown(line)}", soft_wrap=True)
    broken = [entry for entry in entries if entry.state != "ready"]
    if broken:
        table = Table("model", "distribution", "version", "state", box=None, pad_edge=False)
        for entry in broken:
            state = f"[{_COLORS.get(entry.state, 'yellow')}]{entry.state}[/]: {shown(entry.cause)}"
            table.add_row(*map(shown, (entry.name, entry.distribution, entry.version)), state)
        console.print(table)
    console.print(f"next: {program_name()} MODEL --weights seeded", soft_wrap=True)


def print_checks(checks: Sequence[Check]) -> None:
    """One row a check of the environment; models of one distribution that are fine share a row."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for (fine, what, found), group in groupby(checks, key=_alike):
        rows = list(group)
        mark = "[green]ok[/]" if fine else "[red]missing[/]" if rows[0].needed else "[yellow]absent[/]"
        count = f"{len(rows)} of " if len(rows) > 1 else ""
        name = what if len(rows) > 1 else rows[0].what
        table.add_row(mark, shown(name), shown(f"{count}{found}"), "" if fine else shown(rows[0].remedy))
    _stdout().print(table)


def _alike(check: Check) -> tuple[bool, str, str]:
    """What rows of one group have in common."""
    merged = check.fine and check.what.startswith(_MODEL)
    return check.fine, "models" if merged else check.what, check.found


def _stdout() -> Console:
    return terminal(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=not sys.stdout.isatty())


def _rows(result: ConversionResult) -> Iterator[tuple[str, str]]:
    from n6convert.report.summary import summary_rows

    report = result.report
    yield from ((shown(label), shown(value)) for label, value in summary_rows(report))
    reused = sum(stage.cached for stage in report.stages)
    seconds = sum(stage.seconds for stage in report.stages if not stage.cached)
    yield "stages", f"{len(report.stages)} in {seconds:.1f} s" + (f", {reused} from the cache" if reused else "")
    yield "result", shown(str(result.model_path))
