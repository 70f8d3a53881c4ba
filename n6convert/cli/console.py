"""What the terminal shows: progress on stderr, tables on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from n6convert.cli.terminal import say, shown, terminal

if TYPE_CHECKING:
    from n6convert.doctor import Check
    from n6convert.registry import ModelEntry
    from n6convert.results import ConversionResult, Report

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
    table = Table("model", "distribution", "version", "state", box=None, pad_edge=False)
    for entry in entries:
        colour = _COLOURS.get(entry.state, "yellow")
        state = f"[{colour}]{entry.state}[/]" + (f": {shown(entry.cause)}" if entry.cause else "")
        table.add_row(*map(shown, (entry.name, entry.distribution, entry.version)), state)
    _stdout().print(table)


def print_checks(checks: Sequence[Check]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    for check in checks:
        mark = "[green]ok[/]" if check.fine else "[red]missing[/]" if check.needed else "[yellow]absent[/]"
        table.add_row(mark, shown(check.what), shown(check.found), "" if check.fine else shown(check.remedy))
    _stdout().print(table)


def _stdout() -> Console:
    return terminal(width=None if sys.stdout.isatty() else 120, highlight=False, soft_wrap=not sys.stdout.isatty())


def _rows(result: ConversionResult) -> Iterator[tuple[str, str]]:
    report = result.report
    yield "model", shown(f"{report.name} for {report.target}")
    yield "weights", shown(report.weights.origin)
    yield from _accuracy_rows(report)
    yield from _prediction_rows(report)
    yield from _lint_rows(report)
    reused = sum(stage.cached for stage in report.stages)
    seconds = sum(stage.seconds for stage in report.stages if not stage.cached)
    yield "stages", f"{len(report.stages)} in {seconds:.1f} s" + (f", {reused} from the cache" if reused else "")
    yield "result", shown(str(result.model_path))


def _accuracy_rows(report: Report) -> Iterator[tuple[str, str]]:
    if report.accuracy:
        a = report.accuracy
        spread = f" (95 %: {a.interval[0]:+.2f} to {a.interval[1]:+.2f})" if a.interval else ""
        values = f"float {a.float_value:.1f}, INT8 {a.int8:.1f}"
        yield shown(a.metric), f"{values}, lost {a.drop:.2f} points{spread} on {a.samples} samples"
    if report.sqnr_db:
        parts = (f"{shown(name)} {'exact' if db is None else f'{db:.1f} dB'}" for name, db in report.sqnr_db.items())
        yield "INT8 against float", ", ".join(parts)


def _prediction_rows(report: Report) -> Iterator[tuple[str, str]]:
    if report.placement:
        after = report.placement.after
        epochs: dict[str, Any] = after.get("epochs", {})
        before = report.placement.before or {}
        was = f" (without rewrites {100 * before['offload']:.1f} %)" if "offload" in before else ""
        where = f"{epochs.get('hw')} hw, {epochs.get('hybrid')} hybrid, {epochs.get('sw')} sw"
        yield "epochs", f"{epochs.get('total')}: {where}; {100 * after['offload']:.1f} % on the NPU{was}"
    if report.latency:
        t = report.latency
        spread = f" ({t['low']:.2f} to {t['high']:.2f})" if "low" in t else ""
        yield "predicted time", f"{t['milliseconds']:.2f} ms{spread}"
    if report.memory:
        shown = [k for k in ("weights", "tables", "activations") if report.memory.get(k)]
        sizes = ", ".join(f"{k} {report.memory[k] / 1024:.0f} KiB" for k in shown)
        fits = "does not fit" if not report.memory.get("fits") else "activations on chip"
        if external := report.memory.get("external"):
            fits = f"{external / 1024:.0f} KiB of activations in external RAM"
        yield "memory", f"{sizes}, {fits}"


def _lint_rows(report: Report) -> Iterator[tuple[str, str]]:
    if report.lint:
        kinds = [str(finding.get("severity")) for finding in report.lint]
        yield "lint", ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


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
