"""The command line: ``n6convert MODEL|RECIPE.yaml|FILE [options]`` and ``n6convert COMMAND``.

Progress goes to stderr, the final table or JSON to stdout. Exit codes: 0 converted, 1 failed, 2 wrong usage or recipe,
3 converted but not acceptable, 130 interrupted.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from n6convert.cli.registry import COMMANDS, LazyGroup
from n6convert.errors import N6ConvertError, SourceError, UsageError
from n6convert.logs import quiet_libraries
from n6convert.naming import nearest
from n6convert.store.inputs import exists

__all__ = ["app", "main", "run"]

app = typer.Typer(
    cls=LazyGroup, name="n6convert", no_args_is_help=True, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Convert neural networks for the STM32N6 NPU: `n6convert MODEL|RECIPE.yaml|FILE.onnx`.",
    epilog="`n6convert COMMAND --help` has examples. `-v` logs what is done, `-vv` how; `--debug` shows tracebacks.",
)  # fmt: skip
_VERBOSE = {"-v": 1, "--verbose": 1, "-vv": 2}
_INTERRUPTED, _BROKEN_PIPE = 130, 141
_COMPLETES = "_N6CONVERT_COMPLETE"  # set by the shell that asks for completions
_OF_THE_TOP = {"--help", "-h", "--version", "--install-completion", "--show-completion"}


def main() -> None:
    """Entry point of the ``n6convert`` command."""
    from n6convert.runtime.aside import own_process
    from n6convert.runtime.garbage import collect_rarely
    from n6convert.runtime.threads import one_for_arrays

    own_process()
    one_for_arrays()
    collect_rarely()
    code = run(sys.argv[1:])
    gc.freeze()  # or Python would go through a conversion's objects once more before it ends
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; prints errors instead of raising, unless ``--debug`` is given."""
    debug = "--debug" in arguments
    verbosity = sum(_VERBOSE.get(word, 0) for word in arguments)
    args = [word for word in arguments if word != "--debug" and word not in _VERBOSE]
    try:
        with quiet_libraries(debug=debug, verbosity=verbosity):
            args = _with_default_command(args)
            code = typer.main.get_command(app).main(args, prog_name="n6convert", standalone_mode=False)
        sys.stdout.flush()
        if code == _INTERRUPTED:
            print("interrupted; finished stages are kept, run again to go on", file=sys.stderr)
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, SystemExit):  # typer turns the former into the latter
        if _COMPLETES in os.environ:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except Exception as error:
        if debug:
            raise
        return _report_failure(error, as_json="--json" in args)


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
    if not args or args[0] in _OF_THE_TOP:
        return args
    if args[0] in COMMANDS:
        return args
    _refuse_mistyped_command(args[0], list(COMMANDS))
    return ["convert", *args]


def _refuse_mistyped_command(word: str, known: Sequence[str]) -> None:
    close = nearest(word, known, most=1, likeness=0.8)
    if not close or exists(Path(word)):
        return
    from n6convert.recipe.reader import recipe_files
    from n6convert.registry import list_models

    if word not in recipe_files() and word not in {entry.name for entry in list_models()}:
        raise UsageError(f"there is no command, model or recipe {word!r}", remedy=f"did you mean `{close[0]}`?")


def _report_failure(error: Exception, *, as_json: bool) -> int:
    from n6convert.cli.terminal import say

    if not isinstance(error, N6ConvertError):
        message = getattr(error, "format_message", None)
        if message is not None:  # the command line itself is wrong
            if text := message():  # empty where the help has been printed
                say(f"error: {text}\ntry: n6convert --help", error=True)
            return 2
        error = _unexpected(error)
    say(f"error: {error}", error=True)
    if as_json:
        print(json.dumps(error.as_dict(), indent=2))
    return error.exit_code


def _unexpected(error: Exception) -> N6ConvertError:
    if isinstance(error, MemoryError):
        return N6ConvertError("there is not enough memory", remedy="use a smaller input size or fewer samples")
    if isinstance(error, OSError) and error.errno is not None:  # what a file system refuses is no bug
        return SourceError("a file or folder cannot be used", place=error.filename, found=error.strerror or error)
    return N6ConvertError(
        f"unexpected {type(error).__name__}: {error}", remedy="this is a bug: run again with --debug and report it"
    )
