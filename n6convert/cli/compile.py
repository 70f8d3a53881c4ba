"""``n6convert compile DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n6convert.cli.options import AsJson, examples
from n6convert.npu.compile import TIME_LIMIT

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command ``compile``."""
    app.command("compile", epilog=examples("n6convert compile build/yolov8n"))(_compile)


def _compile(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A package folder that n6convert wrote.")],
    time_limit: Annotated[float, typer.Option(help="Seconds after which ST Edge AI is stopped.")] = TIME_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Compile a package with ST Edge AI, and compare its report with the prediction."""
    from n6convert.api.comparing import compare_report
    from n6convert.cli.compare import print_comparison
    from n6convert.npu.compile import compile_package

    result = compile_package(folder, time_limit=time_limit)
    print_comparison(compare_report(result.model, result.report, result.target), result.report, as_json)
