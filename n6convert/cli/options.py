"""Options that mean the same in every command, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from n6convert.cli import completion

__all__ = [
    "AsJson",
    "Calibration",
    "Debug",
    "Evaluate",
    "Force",
    "ImageSize",
    "ModelName",
    "NoCache",
    "Pools",
    "Quiet",
    "Samples",
    "Settings",
    "TargetName",
    "Weights",
    "examples",
    "output",
]

ModelName = Annotated[
    str,
    typer.Argument(
        help="A model's name, a recipe's name or path, or a model file.", autocompletion=completion.models,
        show_default=False,
    ),
]  # fmt: skip
Weights = Annotated[str | None, typer.Option("--weights", help="`pretrained`, `seeded`, or a file or folder.")]
Calibration = Annotated[
    str | None, typer.Option("--calibration", help="Samples: a folder, COCO json, .npz, .txt or .tsv.")
]
Samples = Annotated[int | None, typer.Option("--samples", help="Calibration samples, at most.")]
Evaluate = Annotated[str | None, typer.Option("--evaluate", help="Labeled samples: accuracy of float against INT8.")]
ImageSize = Annotated[int | None, typer.Option("--imgsz", help="Side of the input image in pixels.")]
TargetName = Annotated[
    str | None,
    typer.Option(
        "--target", help="Board and compiler version (stm32n6570-dk@4.0), or a board's file.",
        autocompletion=completion.targets,
    ),
]  # fmt: skip
Pools = Annotated[Path | None, typer.Option("--pools", help="The project's own *.mpool instead of the stock one.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Any recipe key: quantization.ranges=mse (repeatable).", autocompletion=completion.settings
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Run every stage again.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files of yours under the output's name.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback on errors.")]


def output(default: str) -> Any:
    """The option ``--output`` of a command; ``default`` says where the result goes without it."""
    return typer.Option("--output", "-o", help=f"Where the result goes; default {default}.")


def examples(*lines: str) -> str:
    """The end of a command's help: command lines to copy."""
    return "\n\n".join(["Examples:", *(f"  {line}" for line in lines)])

