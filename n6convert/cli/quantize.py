"""``n6convert quantize FILE.onnx``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from n6convert.cli.options import (
    AsJson,
    Calibration,
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

if TYPE_CHECKING:
    from n6convert.quantization.quantizer import QuantizationResult

__all__ = ["register"]

_Output = Annotated[Path | None, output("NAME.int8.onnx")]
_EXAMPLES = examples(
    "n6convert quantize network.onnx --calibration images/",
    "n6convert quantize network.onnx --calibration samples.npz --set quantization.ranges=mse -o network_int8.onnx",
)


def register(app: typer.Typer) -> None:
    """Add the command ``quantize``."""
    app.command("quantize", epilog=_EXAMPLES)(_quantize)


def _quantize(
    file: Annotated[Path, typer.Argument(help="A float ONNX file.", show_default=False)],
    calibration: Calibration = None,
    samples: Samples = None,
    output: _Output = None,
    target: TargetName = None,
    ranges: Annotated[Path | None, typer.Option(help="Use the ranges of this ranges.json.")] = None,
    save_ranges: Annotated[Path | None, typer.Option(help="Write the ranges that were found.")] = None,
    fast: Fast = False,
    settings: Settings = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
    force: Force = False,
) -> None:
    """Quantize a float ONNX model to INT8 (QDQ): no operator stays in float."""
    from n6convert.api.quantizing import quantize_draft
    from n6convert.cli.drafts import draft_of
    from n6convert.cli.progress import progress_on_stderr

    path = output or file.with_suffix(".int8.onnx")
    inputs = [file, *(Path(given) for given in (calibration, ranges) if given)]
    effort = "fast" if fast else None
    draft = draft_of(str(file), settings, calibration=calibration, samples=samples, target=target, effort=effort)
    if ranges is not None:
        draft.set(("quantization", "ranges_file"), str(ranges), "--ranges")
    with progress_on_stderr(quiet or as_json) as progress:
        result = quantize_draft(
            draft, inputs, output=path, ranges=save_ranges, cache=not no_cache, progress=progress, force=force
        )
    if as_json:
        typer.echo(json.dumps(result.facts | {"file": str(path)}, indent=2))
    elif not quiet:
        _print_methods(result, path)


def _print_methods(result: QuantizationResult, path: Path) -> None:
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal

    table = Table("method", "SQNR dB", "closeness dB", "kept", title=shown(path))
    for method in result.facts["methods"]:
        closer = f"{method['closeness_db']:.2f}"
        table.add_row(shown(method["method"]), f"{method['sqnr_db']:.2f}", closer, "yes" if method["kept"] else "no")
    console = terminal()
    console.print(table)
    if result.facts["methods_not_needed"]:
        console.print(f"not needed: {', '.join(result.facts['methods_not_needed'])}", markup=False)
    for method in result.facts["methods_not_promising"]:
        console.print(f"left out: {method['method']}, it could bring {method['most_db']:+.2f} dB at most", markup=False)
    for text in result.facts["warnings"]:
        console.print(f"warning: {text}", style="yellow", markup=False)
