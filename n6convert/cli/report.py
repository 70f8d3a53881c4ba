"""``n6convert report DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n6convert.cli.options import examples, output
from n6convert.store.inputs import is_folder

__all__ = ["RunFolder", "register"]

RunFolder = Annotated[Path, typer.Argument(help="The folder of a run, or its report.json.", show_default=False)]
_Output = Annotated[Path | None, output("report.html beside it")]


def register(app: typer.Typer) -> None:
    """Add the command ``report``."""
    app.command("report", epilog=examples("n6convert report build/yolov8n"))(_report)


def _report(
    folder: RunFolder,
    output: _Output = None,
) -> None:
    """Render report.html again from a run's report.json, of any version."""
    from n6convert.cli.terminal import say
    from n6convert.report.html import read_report, report_errors, write_report

    place = folder if is_folder(folder) else folder.parent
    report = read_report(folder)
    with report_errors(folder):
        drawn = write_report(report, place, path=output)
    say(drawn)
