"""The command line: ``n6convert MODEL|RECIPE.yaml|FILE [options]``, and commands that other parts register.

Progress goes to stderr, the final table or JSON to stdout. Exit codes: 0 converted, 1 failed, 2 wrong usage or recipe,
3 converted but not acceptable, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer

from n6convert.cli.registry import LazyGroup
from n6convert.errors import N6ConvertError, UsageError
from n6convert.logs import quiet_libraries

__all__ = ["app", "main", "run"]

app = typer.Typer(
    cls=LazyGroup, name="n6convert", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Convert neural networks for the STM32N6 NPU: `n6convert MODEL|RECIPE.yaml|FILE.onnx`.",
)
_INTERRUPTED, _BROKEN_PIPE = 130, 141


def main() -> None:
    """Entry point of the ``n6convert`` command."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; prints errors instead of raising, unless ``--debug`` is given."""
    debug = "--debug" in arguments
    args = [word for word in arguments if word != "--debug"]
    try:
        with quiet_libraries(debug=debug):
            args = _with_default_command(args)
            code = typer.main.get_command(app).main(args, prog_name="n6convert", standalone_mode=False)
        sys.stdout.flush()
        if code == _INTERRUPTED:
            print("interrupted; finished stages are kept, run again to go on", file=sys.stderr)
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, SystemExit):  # typer turns the former into the latter
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        if debug:
            raise
        return _report_failure(error, as_json="--json" in args)


@app.command()
def convert(
    model: Annotated[str, typer.Argument(help="A model's name, a recipe's name or path, or a model file.")],
    weights: Annotated[str | None, typer.Option(help="`pretrained`, `seeded`, or a file or folder.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Samples: a folder, COCO json, .npz, .tsv.")] = None,
    samples: Annotated[int | None, typer.Option(help="How many calibration samples to use at most.")] = None,
    evaluate: Annotated[Path | None, typer.Option(help="Labelled samples for float against INT8.")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side of the input image in pixels.")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the result; default build/NAME.")] = None,
    target: Annotated[str | None, typer.Option(help="Board and compiler version: stm32n6570-dk@4.0.")] = None,
    setting: Annotated[list[str] | None, typer.Option("--set", help="Any recipe key: quantization.ranges=mse.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks.")] = False,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run every stage again.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files of yours in the output folder.")] = False,
) -> None:
    """Convert a model (the default command)."""
    from n6convert.api import convert_draft, make_draft
    from n6convert.cli.console import print_result, progress_on_stderr
    from n6convert.recipes_io import parse_setting

    draft = make_draft(model)
    options: dict[str, tuple[tuple[str, ...], Any]] = {
        "--weights": (("weights",), weights),
        "--calibration": (("calibration", "source"), calibration),
        "--samples": (("calibration", "samples"), samples),
        "--evaluate": (("evaluation", "source"), evaluate),
        "--imgsz": (("options", "imgsz"), imgsz),
        "--output": (("output",), output),
        "--target": (("target",), target),
    }
    for option, (path, value) in options.items():
        if value is not None:
            draft.set(path, str(value) if isinstance(value, Path) else value, option)
    for text in setting or []:
        draft.set(*parse_setting(text), f"--set {text}")
    with progress_on_stderr(quiet) as progress:
        result = convert_draft(draft, cache=not no_cache, progress=progress, force=force)
    if as_json:
        print(json.dumps(result.report.model_dump(mode="json", by_alias=True), indent=2))
    elif not quiet:
        print_result(result)


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the models that are installed, and what is wrong with those that cannot run."""
    from dataclasses import asdict

    from n6convert.cli.console import print_models
    from n6convert.registry import list_models

    found = list_models()
    if as_json:
        print(json.dumps([asdict(entry) for entry in found], indent=2))
    else:
        print_models(found)


@app.command()
def recipe(
    model: Annotated[str | None, typer.Argument(help="A model's name, or a recipe's name or path.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of recipes, for editors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Tracebacks.")] = False,
) -> None:
    """Print the full effective recipe of a model as YAML, ready to save and change."""
    from n6convert.api import effective_recipe, make_draft
    from n6convert.recipes_io import recipe_files, recipe_schema, to_yaml

    if schema:
        print(json.dumps(recipe_schema(), indent=2))
    elif model is None:
        raise UsageError("which model's recipe?", limit=", ".join(recipe_files()), remedy="n6convert recipe yolov8n")
    else:
        print(to_yaml(effective_recipe(make_draft(model))), end="")


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Show what is installed, which models would run, and the command that mends what is missing."""
    from dataclasses import asdict

    from n6convert.cli.console import print_checks
    from n6convert.doctor import examine

    checks = examine()
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        print_checks(checks)
    raise typer.Exit(0 if all(check.fine for check in checks if check.needed) else 1)


@app.callback(invoke_without_command=True)
def _top(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        from n6convert import __version__

        print(f"n6convert {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


def _with_default_command(args: list[str]) -> list[str]:
    """``yolov8n --json`` means ``convert yolov8n --json``."""
    if not args or args[0] in {"--help", "--version"}:
        return args
    group = typer.main.get_command(app)
    known = group.list_commands(typer.Context(group))  # type: ignore[attr-defined]
    if args[0] in known:
        return args
    _refuse_mistyped_command(args[0], known)
    return ["convert", *args]


def _refuse_mistyped_command(word: str, known: Sequence[str]) -> None:
    close = get_close_matches(word, known, n=1, cutoff=0.8)
    if not close or Path(word).exists():
        return
    from n6convert.recipes_io import recipe_files
    from n6convert.registry import list_models

    if word not in recipe_files() and word not in {entry.name for entry in list_models()}:
        raise UsageError(f"there is no command, model or recipe {word!r}", remedy=f"did you mean `{close[0]}`?")


def _report_failure(error: Exception, *, as_json: bool) -> int:
    if not isinstance(error, N6ConvertError):
        shown = getattr(error, "format_message", None)
        if shown is not None:  # the command line itself is wrong
            print(f"error: {shown()}\ntry: n6convert --help", file=sys.stderr)
            return 2
        error = _unexpected(error)
    print(f"error: {error}", file=sys.stderr)
    if as_json:
        print(json.dumps(error.as_dict(), indent=2))
    return error.exit_code


def _unexpected(error: Exception) -> N6ConvertError:
    if isinstance(error, MemoryError):
        return N6ConvertError("there is not enough memory", remedy="use a smaller input size or fewer samples")
    return N6ConvertError(
        f"unexpected {type(error).__name__}: {error}", remedy="this is a bug: run again with --debug and report it"
    )
