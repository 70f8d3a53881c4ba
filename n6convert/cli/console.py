"""What the terminal shows of results: tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from n6convert.cli.closing import next_command, page_link, time_bar
from n6convert.cli.terminal import shown, terminal

if TYPE_CHECKING:
    from n6convert.doctor import Check
    from n6convert.registry import ModelEntry
    from n6convert.results import ConversionResult

__all__ = ["print_checks", "print_models", "print_result"]

_COLOURS = {"ready": "green", "broken": "red", "duplicate": "red"}


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
    """One row a registered model."""
    table = Table("model", "distribution", "version", "state", box=None, pad_edge=False)
    for entry in entries:
        colour = _COLOURS.get(entry.state, "yellow")
        state = f"[{colour}]{entry.state}[/]" + (f": {shown(entry.cause)}" if entry.cause else "")
        table.add_row(*map(shown, (entry.name, entry.distribution, entry.version)), state)
    _stdout().print(table)


def print_checks(checks: Sequence[Check]) -> None:
    """One row a check of the environment."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for check in checks:
        mark = "[green]ok[/]" if check.fine else "[red]missing[/]" if check.needed else "[yellow]absent[/]"
        table.add_row(mark, shown(check.what), shown(check.found), "" if check.fine else shown(check.remedy))
    _stdout().print(table)


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
