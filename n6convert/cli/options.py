"""Options that mean the same in every command, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n6convert.cli import completion

if TYPE_CHECKING:
    from n6convert.npu.options import CompilerOptions

__all__ = [
    "AsJson",
    "Calibration",
    "Clocks",
    "Debug",
    "EpochController",
    "Evaluate",
    "Fast",
    "Flash",
    "Force",
    "ImageSize",
    "MaxDrop",
    "MaxFlash",
    "MaxMilliseconds",
    "InputChannels",
    "InputType",
    "InputsElsewhere",
    "ModelName",
    "NoCache",
    "NoEpochController",
    "OutputChannels",
    "OutputType",
    "OutputsElsewhere",
    "Pools",
    "Quiet",
    "Samples",
    "Settings",
    "TargetName",
    "Trust",
    "Weights",
    "compiler_options",
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
Trust = Annotated[
    str | None, typer.Option("--trust", help="The weights must have this sha256:...; published ones are taken on it.")
]
Calibration = Annotated[
    str | None, typer.Option("--calibration", help="Samples: a folder, COCO json, .npz, .txt or .tsv.")
]
Samples = Annotated[int | None, typer.Option("--samples", help="Calibration samples, at most.")]
Evaluate = Annotated[str | None, typer.Option("--evaluate", help="Labeled samples: accuracy of float against INT8.")]
MaxDrop = Annotated[float | None, typer.Option("--max-drop", help="Accept at most this loss in points of the metric.")]
MaxMilliseconds = Annotated[
    float | None, typer.Option("--max-milliseconds", help="Accept at most this predicted time.")
]
MaxFlash = Annotated[str | None, typer.Option("--max-flash", help="Accept at most these weights: 2MiB, 900KiB.")]
ImageSize = Annotated[
    str | None, typer.Option("--imgsz", help="Side of the input image in pixels; `auto`: the largest on chip.")
]
TargetName = Annotated[
    str | None,
    typer.Option(
        "--target", help="Board and compiler version (stm32n6570-dk@4.0), or a board's file.",
        autocompletion=completion.targets,
    ),
]  # fmt: skip
Pools = Annotated[Path | None, typer.Option("--pools", help="The project's own *.mpool instead of the stock one.")]
InputType = Annotated[str | None, typer.Option("--input-data-type", help="Compiled with it: float32, int8 or uint8.")]
OutputType = Annotated[str | None, typer.Option("--output-data-type", help="Compiled with it: float32, int8 or uint8.")]
InputChannels = Annotated[str | None, typer.Option("--inputs-ch-position", help="Compiled with it: chfirst or chlast.")]
OutputChannels = Annotated[
    str | None, typer.Option("--outputs-ch-position", help="Compiled with it: chfirst or chlast.")
]
EpochController = Annotated[
    bool, typer.Option("--epoch-controller", help="Compiled with the epoch controller, as boards are by default.")
]
NoEpochController = Annotated[bool, typer.Option("--no-epoch-controller", help="Compiled without it.")]
Clocks = Annotated[str | None, typer.Option("--clocks", help="MHz of CPU and NPU: 600/800.")]
Flash = Annotated[float | None, typer.Option("--flash-rate", help="MB/s at which weights stream, as measured.")]
InputsElsewhere = Annotated[
    bool, typer.Option("--no-inputs-allocation", help="The application brings the input buffers.")
]
OutputsElsewhere = Annotated[
    bool, typer.Option("--no-outputs-allocation", help="The application brings the output buffers.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Any recipe key: quantization.ranges=mse (repeatable).", autocompletion=completion.settings
    ),
]
Fast = Annotated[
    bool, typer.Option("--fast", help="Only choose ranges (quantization.effort=fast): less time, less accuracy.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Run every stage again.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files of yours under the output's name.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback on errors.")]


def output(default: str) -> Any:
    """The option ``--output`` of a command; ``default`` says where the result goes without it."""
    return typer.Option("--output", "-o", help=f"Where the result goes; default {default}.")


def compiler_options(
    *,
    pools: Path | None = None,
    input_type: str | None = None,
    output_type: str | None = None,
    input_channels: str | None = None,
    output_channels: str | None = None,
    epoch_controller: bool = False,
    no_epoch_controller: bool = False,
    clocks: str | None = None,
    flash: float | None = None,
    no_inputs: bool = False,
    no_outputs: bool = False,
) -> CompilerOptions:
    """The compiler's options as given on the command line.

    Args:
        pools: an ``.mpool`` file.
        input_type: element type of the inputs.
        output_type: element type of the outputs.
        input_channels: ``chfirst`` or ``chlast``.
        output_channels: ``chfirst`` or ``chlast``.
        epoch_controller: blobs are started by the controller.
        no_epoch_controller: they are not; neither: as the target has it.
        clocks: CPU and NPU in MHz.
        flash: MB/s.
        no_inputs: inputs lie outside the activations.
        no_outputs: outputs lie outside the activations.

    Raises:
        RecipeError: a value that an option does not take.
        UsageError: with the epoch controller and without.
    """
    from n6convert.errors import UsageError
    from n6convert.npu.ends import Ends
    from n6convert.npu.options import CompilerOptions

    if epoch_controller and no_epoch_controller:
        raise UsageError("--epoch-controller and --no-epoch-controller exclude each other", remedy="give one of them")
    controller = epoch_controller if epoch_controller or no_epoch_controller else None
    ends = Ends(input_type, output_type, input_channels, output_channels)
    return CompilerOptions(ends, not no_inputs, not no_outputs, controller, pools, clocks, flash)


def examples(*lines: str) -> str:
    """The end of a command's help: command lines to copy."""
    return "\n\n".join(["Examples:", *(f"  {line}" for line in lines)])
