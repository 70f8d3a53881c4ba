"""What the terminal shows of work in progress, on stderr: bars on a terminal, lines at intervals elsewhere.

A stage is told as ``name``, a step of it as ``name: step``. Every stage has a clock of its own that runs until it
ends, whatever its steps count; how long a step still takes is told where its length is known.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from n6convert.cli.terminal import say, shown, terminal

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID

__all__ = ["Reporter", "Steps", "progress_on_stderr"]

#: a step is named when it takes this long, and told again after each interval
_STEP_SECONDS, _INTERVAL_SECONDS = 2.0, 15.0
_LEAST_SHARE = 0.02


class Steps:
    """Where the work is: stage, step, counts, clocks.

    Args:
        clock: seconds, ever growing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.stage, self.position, self.count = "", 0, 0
        self.step, self.done, self.total = "", 0, 0
        self._stage_since = self._step_since = self._moved_at = clock()
        self._first = 0

    def tell(self, what: str, done: int, total: int | None) -> bool:
        """Take a report; True when a stage begins.

        Args:
            what: stage, and step behind a colon.
            done: steps finished.
            total: of the steps; None: not known.
        """
        stage, inside, step = what.partition(": ")
        begins = not inside or stage != self.stage
        if begins:
            self.stage, self._stage_since, self.step, self.total = stage, self._clock(), "", 0
            if not inside:
                self.position, self.count = done + 1, total or 0
        if inside:
            if step != self.step:
                self._step_since, self._first = self._clock(), done
            if step != self.step or done != self.done:
                self._moved_at = self._clock()
            self.step, self.done, self.total = step, done, total or 0
        return begins

    @property
    def seconds(self) -> float:
        """Since the stage began."""
        return self._clock() - self._stage_since

    @property
    def left(self) -> float | None:
        """Seconds that the step still takes at the pace so far; None where that cannot be said yet."""
        moved, ahead = self.done - self._first, self.total - self.done
        if ahead <= 0 or moved <= 0 or moved < _LEAST_SHARE * self.total:
            return None
        whole = (self._moved_at - self._step_since) * ahead / moved
        return max(whole - (self._clock() - self._moved_at), 0.0)

    @property
    def place(self) -> str:
        """The stage with its number, the step with its count."""
        numbered = f"{self.stage} ({self.position} of {self.count})" if self.count > 1 else self.stage
        if not self.step:
            return numbered
        many = f", {self.done} of {self.total}" if self.total else f", {self.done}" if self.done else ""
        return f"{numbered}: {self.step}{many}"

    def line(self) -> str:
        """All in one line."""
        left = f", about {_clock_text(self.left)} left" if self.left is not None else ""
        return f"{self.place}, {_clock_text(self.seconds)}{left}"


class Reporter:
    """A progress callback that can also say something between."""

    def __init__(self, tell: Callable[[str, int, int | None], None], note: Callable[[str], None]) -> None:
        self._tell, self.note = tell, note

    def __call__(self, what: str, done: int, total: int | None) -> None:
        self._tell(what, done, total)


@contextmanager
def progress_on_stderr(quiet: bool = False) -> Iterator[Reporter]:
    """Bars on a terminal, lines elsewhere, nothing when quiet."""
    if quiet:
        yield Reporter(lambda what, done, total: None, lambda text: None)
    elif sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        with _lines() as report:
            yield report


@contextmanager
def _bars() -> Iterator[Reporter]:
    """A line per stage: its name, the step at work with its bar, the stage's own clock, what the step still takes."""
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn
    from rich.text import Text

    class Clock(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            steps, ended = task.fields["steps"], task.fields["ended"]
            return Text(_clock_text(steps.seconds if ended is None else ended), style="progress.elapsed")

    class Left(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: Task) -> Text:
            left = task.fields["steps"].left if task.fields["ended"] is None else None
            return Text("" if left is None else f"{_clock_text(left)} left", style="progress.remaining")

    spinner, name = SpinnerColumn(finished_text="[green]done[/]"), TextColumn("{task.description}")
    columns = (spinner, name, BarColumn(bar_width=20), Clock(), Left())
    with Progress(*columns, console=terminal(stderr=True), transient=True) as bars:
        yield Reporter(_Bars(bars).tell, lambda text: bars.console.print(shown(text)))


class _Bars:
    """One task a stage; a task is full when its stage has ended, and not before."""

    def __init__(self, bars: Progress) -> None:
        self.bars, self.steps = bars, Steps()
        self.current: TaskID | None = None

    def tell(self, what: str, done: int, total: int | None) -> None:
        stage, seconds = self.steps.stage, self.steps.seconds
        if self.steps.tell(what, done, total):
            if self.current is not None:
                self.bars.update(self.current, description=shown(stage), total=1, completed=1, ended=seconds)
            self.current = None
            if what != "done":
                self.current = self.bars.add_task("", total=None, steps=self.steps, ended=None)
        if self.current is not None:
            size = self.steps.total + 1 if self.steps.total else None
            self.bars.update(self.current, description=shown(self.steps.place), completed=self.steps.done, total=size)


@contextmanager
def _lines() -> Iterator[Reporter]:
    """Stages as they begin, a step when it takes a while, and where the work is after every interval."""
    steps, lock, over = Steps(), threading.Lock(), threading.Event()
    printed, said = time.monotonic(), ""

    def write(text: str) -> None:
        nonlocal printed, said
        if text != said:
            say(text, error=True)
        printed, said = time.monotonic(), text

    def tell(what: str, done: int, total: int | None) -> None:
        with lock:
            before = steps.step
            if steps.tell(what, done, total):
                write(what if what == "done" else steps.place)
            elif steps.step != before and time.monotonic() - printed > _STEP_SECONDS:
                write(steps.place)

    def beat() -> None:
        while not over.wait(_STEP_SECONDS / 2):
            with lock:
                if steps.stage not in ("", "done") and time.monotonic() - printed > _INTERVAL_SECONDS:
                    write(steps.line())

    def note(text: str) -> None:
        with lock:
            write(text)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield Reporter(tell, note)
    finally:
        over.set()
        thread.join()


def _clock_text(seconds: float) -> str:
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}" if hours else f"{rest // 60}:{rest % 60:02d}"
