"""``n6convert requantize FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n6convert.cli.options import (
    AsJson,
    Calibration,
    Debug,
    Evaluate,
    Fast,
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

_File = Annotated[
    Path, typer.Argument(help="An ONNX file in QDQ or QOperator form, or an INT8 TFLite file.", show_default=False)
]
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
    fast: Fast = False,
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
    from n6convert.cli.conversion import run_conversion
    from n6convert.cli.drafts import draft_of

    draft = draft_of(
        str(file), ["options.dequantize=true", *(settings or [])], calibration=calibration, samples=samples,
        evaluate=evaluate, output=output, target=target, effort="fast" if fast else None,
    )  # fmt: skip
    run_conversion(draft, as_json=as_json, quiet=quiet, no_cache=no_cache, force=force)
