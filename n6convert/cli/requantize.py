"""``n6convert requantize FILE``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from n6convert.cli.options import (
    AsJson,
    Calibration,
    Debug,
    Evaluate,
    Force,
    NoCache,
    Quiet,
    Samples,
    Settings,
    TargetName,
    examples,
    output,
)

__all__ = ["register"]

_File = Annotated[Path, typer.Argument(help="A QDQ ONNX or INT8 TFLite file.", show_default=False)]
_Output = Annotated[Path | None, output("build/NAME")]
_EXAMPLES = examples(
    "n6convert requantize mobilenet_int8.tflite --calibration images/",
    "n6convert requantize network_qdq.onnx --calibration samples/ --output build/network",
)


def register(app: typer.Typer) -> None:
    """Add the command ``requantize``."""
    app.command("requantize", epilog=_EXAMPLES)(_requantize)


def _requantize(
    file: _File,
    calibration: Calibration = None,
    samples: Samples = None,
    evaluate: Evaluate = None,
    output: _Output = None,
    target: TargetName = None,
    settings: Settings = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    no_cache: NoCache = False,
    force: Force = False,
) -> None:
    """Convert a file that is quantized already: its weights and grids are kept, rewrites and package are as usual.

    Grids are kept where their tensors survive the rewrites; tensors that the rewrites make get ranges from samples. The
    result is compared with the float model that the file stands for, and with the file itself.
    """
    from n6convert.api import convert_draft
    from n6convert.cli.console import print_result
    from n6convert.cli.drafts import draft_of
    from n6convert.cli.progress import progress_on_stderr

    draft = draft_of(
        str(file), ["options.dequantize=true", *(settings or [])], calibration=calibration, samples=samples,
        evaluate=evaluate, output=output, target=target,
    )  # fmt: skip
    with progress_on_stderr(quiet) as progress:
        result = convert_draft(draft, cache=not no_cache, progress=progress, force=force)
    if as_json:
        print(json.dumps(result.report.model_dump(mode="json", by_alias=True), indent=2))
    elif not quiet:
        print_result(result)
