"""``n6convert debug MODEL``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from n6convert.cli.options import (
    AsJson,
    Calibration,
    ModelName,
    NoCache,
    Quiet,
    Samples,
    Settings,
    TargetName,
    examples,
)

__all__ = ["register"]

_EXAMPLES = examples(
    "n6convert debug network.onnx --calibration images/",
    "n6convert debug yolov8n --set weights=yolov8n.pt --calibration images/",
)


def register(app: typer.Typer) -> None:
    """Add the command ``debug``."""
    app.command("debug", epilog=_EXAMPLES)(_debug)


def _debug(
    model: ModelName,
    calibration: Calibration = None,
    samples: Samples = 16,
    count: Annotated[int, typer.Option(min=1, help="Tensors to look at.")] = 10,
    target: TargetName = None,
    settings: Settings = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
) -> None:
    """Rank tensors by quantization error: the worst alone and left out, with cause and remedy."""
    from n6convert.api.debugging import debug_draft
    from n6convert.cli.drafts import draft_of
    from n6convert.cli.progress import progress_on_stderr

    draft = draft_of(model, settings, calibration=calibration, samples=samples, target=target)
    with progress_on_stderr(quiet or as_json) as progress:
        found = debug_draft(draft, count, cache=not no_cache, progress=progress)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
    else:
        _print_worst(found.worst, found.outputs_sqnr_db)


def _print_worst(records: Sequence[Mapping[str, Any]], outputs: Mapping[str, float]) -> None:
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal

    console = terminal()
    for name, decibel in outputs.items():
        console.print(f"output {name}: {decibel:.1f} dB", markup=False)
    table = Table("tensor", "SQNR dB", "alone dB", "gain if float dB", "cause")
    for r in records:
        numbers = (f"{r[key]:.1f}" for key in ("sqnr_db", "alone_db", "left_out_gain_db"))
        table.add_row(shown(r["name"]), *numbers, shown(r["cause"]))
    console.print(table)
    for cause, remedy in {r["cause"]: r["remedy"] for r in records}.items():
        console.print(f"{cause}: {remedy}", markup=False, highlight=False)
