"""``n6convert tune MODEL``: convert, and train the INT8 numbers against the float model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n6convert.cli.options import (
    AsJson,
    Calibration,
    Debug,
    Evaluate,
    Force,
    ImageSize,
    MaxDrop,
    MaxFlash,
    MaxMilliseconds,
    ModelName,
    NoCache,
    Quiet,
    Samples,
    Settings,
    TargetName,
    Trust,
    Weights,
    examples,
    output,
)

__all__ = ["register"]

_Output = Annotated[Path | None, output("build/NAME")]
_Steps = Annotated[int | None, typer.Option("--steps", help="Steps of training.")]
_Minutes = Annotated[float | None, typer.Option("--minutes", help="Train no longer than this; default 10.")]
_Device = Annotated[str | None, typer.Option("--device", help="`cpu` or `cuda`; default: a GPU where there is one.")]
_Bits = Annotated[str | None, typer.Option("--weight-bits", help="Bits of weights: `int8`, `int4` or `mixed`.")]
#: samples that decide whether what training changed is kept: with fewer, a gain of some tenths of a decibel is not seen
_HELD_BACK = 64
_EXAMPLES = examples(
    "n6convert tune tinybert --weights FOLDER --calibration train.tsv --samples 500 --evaluate dev.tsv",
    "n6convert tune movenet --weights movenet.onnx --calibration images/ --samples 200 --minutes 5",
    "n6convert tune network.onnx --calibration images/ --weight-bits int4",
)


def register(app: typer.Typer) -> None:
    """Add the command ``tune``."""
    app.command("tune", epilog=_EXAMPLES)(_tune)


def _tune(
    model: ModelName,
    weights: Weights = None,
    trust: Trust = None,
    calibration: Calibration = None,
    samples: Samples = None,
    evaluate: Evaluate = None,
    imgsz: ImageSize = None,
    output: _Output = None,
    target: TargetName = None,
    steps: _Steps = None,
    minutes: _Minutes = None,
    device: _Device = None,
    max_drop: MaxDrop = None,
    max_milliseconds: MaxMilliseconds = None,
    max_flash: MaxFlash = None,
    weight_bits: _Bits = None,
    settings: Settings = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    no_cache: NoCache = False,
    force: Force = False,
) -> None:
    """Convert a model and train its INT8 numbers against the float model, without labels (needs torch)."""
    from n6convert.cli.conversion import run_conversion
    from n6convert.cli.drafts import draft_of, image_size, parse_size

    draft = draft_of(
        model, [*_settings(steps, minutes, device, weight_bits), *(settings or [])], weights=weights,
        trust=trust, calibration=calibration, samples=samples, evaluate=evaluate,
        imgsz=image_size(imgsz, model, settings, target), output=output, target=target,
        max_drop=max_drop, max_milliseconds=max_milliseconds,
        max_flash=None if max_flash is None else parse_size(max_flash),
    )  # fmt: skip
    run_conversion(draft, as_json=as_json, quiet=quiet, no_cache=no_cache, force=force)


def _settings(steps: int | None, minutes: float | None, device: str | None, weight_bits: str | None) -> list[str]:
    """The options as recipe keys, where they were given."""
    found = ["tune.enabled=true", f"calibration.held_back={_HELD_BACK}"]
    found += [] if steps is None else [f"tune.steps={steps}"]
    found += [] if minutes is None else [f"tune.time_budget={60 * minutes}"]
    found += [] if device is None else [f"tune.device={device}"]
    return found + ([] if weight_bits is None else [f"quantization.weights={weight_bits}"])
