"""What the terminal shows: progress on stderr, tables on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from n6convert.cli.terminal import say, shown, terminal

if TYPE_CHECKING:
    from n6convert.doctor import Check
    from n6convert.registry import ModelEntry
    from n6convert.results import ConversionResult

__all__ = ["print_checks", "print_models", "print_result", "progress_on_stderr"]

_COLOURS = {"ready": "green", "broken": "red", "duplicate": "red"}
_LINE_SECONDS, _STILL_SECONDS = 2.0, 15.0
Progress = Callable[[str, int, "int | None"], None]


@contextmanager
def progress_on_stderr(quiet: bool = False) -> Iterator[Progress]:
    """A progress callback: a bar on a terminal, one line per step elsewhere, nothing when quiet."""
    if quiet:
        yield lambda what, done, total: None
    elif sys.stderr.isatty():
        with _bar() as report:
            yield report
    else:
        yield _lines()


def print_result(result: ConversionResult) -> None:
    """The final table."""
    rows = list(_rows(result))
    width = max(len(label) for label, _ in rows)
    console = _stdout()
    for label, value in rows:
        console.print(f"[bold]{label:<{width}}[/]  {value}", soft_wrap=True)
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/] {shown(warning)}", soft_wrap=True)


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
    yield from ((shown(label), shown(value)) for label, value in summary_rows(report.to_dict()))
    reused = sum(stage.cached for stage in report.stages)
    seconds = sum(stage.seconds for stage in report.stages if not stage.cached)
    yield "stages", f"{len(report.stages)} in {seconds:.1f} s" + (f", {reused} from the cache" if reused else "")
    yield "result", shown(str(result.model_path))
    yield "page", shown(str(result.folder / "report.html"))


@contextmanager
def _bar() -> Iterator[Progress]:
    """Two lines: the stages with the time since the start, and the step at work with its own clock."""
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    name = TextColumn("{task.description}")
    columns = (SpinnerColumn(), name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=terminal(stderr=True), transient=True) as bar:
        whole = bar.add_task("starting", total=None)
        step = bar.add_task("", total=None, visible=False)
        named = ""

        def report(what: str, done: int, total: int | None) -> None:
            nonlocal named
            stage, inside, at = what.partition(": ")
            if not inside:
                bar.update(whole, description=shown(stage), completed=done, total=total)
                bar.update(step, visible=False)
            elif what != named:  # a task that was full keeps its clock stopped until it is reset
                bar.reset(step, description=f"  {shown(at)}", completed=done, total=total, visible=True)
            else:
                bar.update(step, completed=done, total=total)
            named = what

        yield report


def _lines() -> Progress:
    """Stages as they begin, what they are at when that takes a while, and how far when it takes longer."""
    last, printed = "", 0.0

    def report(what: str, done: int, total: int | None) -> None:
        nonlocal last, printed
        now = time.monotonic()
        inside = ": " in what
        if (what == last and now - printed < _STILL_SECONDS) or (inside and now - printed < _LINE_SECONDS):
            return
        far = f" ({done} of {total})" if what == last and total else ""
        say(f"{what}{far}", error=True)
        last, printed = what, now

    return report
