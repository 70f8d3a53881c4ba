"""``n6convert MODEL``, in full ``n6convert convert MODEL``."""

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
    ImageSize,
    MaxDrop,
    MaxFlash,
    MaxMilliseconds,
    ModelName,
    NoCache,
    Pools,
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

_Name = Annotated[
    str | None, typer.Option("--name", help="Network name, and prefix of the package's C symbols; default the model's.")
]
_Output = Annotated[Path | None, output("build/NAME")]
_EXAMPLES = examples(
    "n6convert yolov8n --weights seeded",
    "n6convert yolov8n --weights yolov8n.pt --imgsz 256 --calibration images/ --evaluate instances.json",
    "n6convert yolov8n --weights yolov8n.pt --imgsz 256 --set quantization.weights=mixed --max-milliseconds 12",
    "n6convert network.onnx --calibration images/ --set options.range=0..1",
    "n6convert yolov8n --weights yolov8n.pt --imgsz 256 --target stm32n6570-dk-app@4.0 --pools app.mpool",
)


def register(app: typer.Typer) -> None:
    """Add the command ``convert``."""
    app.command("convert", epilog=_EXAMPLES)(_convert)


def _convert(
    model: ModelName,
    weights: Weights = None,
    trust: Trust = None,
    calibration: Calibration = None,
    samples: Samples = None,
    evaluate: Evaluate = None,
    imgsz: ImageSize = None,
    output: _Output = None,
    target: TargetName = None,
    pools: Pools = None,
    name: _Name = None,
    max_drop: MaxDrop = None,
    max_milliseconds: MaxMilliseconds = None,
    max_flash: MaxFlash = None,
    fast: Fast = False,
    settings: Settings = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    debug: Debug = False,
    no_cache: NoCache = False,
    force: Force = False,
) -> None:
    """Convert a model to INT8 for the NPU (the default command)."""
    from n6convert.cli.conversion import run_conversion
    from n6convert.cli.drafts import draft_of, image_size, parse_size

    draft = draft_of(
        model, settings, weights=weights, trust=trust, calibration=calibration, samples=samples, evaluate=evaluate,
        imgsz=image_size(imgsz, model, settings, target),
        output=output, target=target, pools=pools, name=name, effort="fast" if fast else None, max_drop=max_drop,
        max_milliseconds=max_milliseconds,
        max_flash=None if max_flash is None else parse_size(max_flash),
    )  # fmt: skip
    run_conversion(draft, as_json=as_json, quiet=quiet, no_cache=no_cache, force=force)
