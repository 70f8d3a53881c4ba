"""The commands, by group; each is imported only when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["COMMANDS", "GROUPS", "LazyGroup", "real_command"]

#: group -> command -> sentence for ``--help``; ``n6convert.cli.COMMAND`` holds a ``register(app)`` that adds it
GROUPS: dict[str, dict[str, str]] = {
    "Convert": {
        "convert": "Convert a model: the default command, `n6convert MODEL`.",
        "models": "List the installed models.",
        "requantize": "Convert a file that is quantized already (ONNX, INT8 TFLite).",
        "recipe": "Print every choice of a conversion as YAML.",
        "tune": "Convert a model and train its INT8 numbers against the float model.",
        "sweep": "Convert a model over a grid of choices and draw the Pareto front.",
    },
    "Predict and check": {
        "estimate": "Predict placement, time and memory of a quantized model.",
        "explain": "Explain the placement rules of an operator.",
        "lint": "Check a model for ST Edge AI compatibility.",
    },
    "Single steps": {
        "debug": "Rank tensors by quantization error.",
        "quantize": "Quantize a float ONNX model to INT8 (QDQ).",
        "rewrite": "Rewrite a float ONNX model so that its operators stay on the NPU.",
    },
    "Results": {
        "diff": "Show the differences between two runs.",
        "fit": "Check whether several models fit on one board.",
        "report": "Render report.html again from a run's report.json.",
    },
    "ST Edge AI": {
        "compare": "Compare the prediction with ST Edge AI's report.",
        "compile": "Compile a package with ST Edge AI and compare its report.",
    },
    "Installation": {
        "cache": "Show what is kept from run to run, or empty it.",
        "doctor": "Show what is installed and what is missing.",
        "new-plugin": "Write a working plugin distribution to start from.",
    },
}
#: command -> its group and sentence
COMMANDS = {name: (group, text) for group, commands in GROUPS.items() for name, text in commands.items()}
_HELP = ["-h", "--help"]


def real_command(name: str) -> Any:
    """The command itself, its module imported."""
    scratch = typer.Typer(pretty_exceptions_enable=False)
    scratch.callback()(lambda: None)
    import_module(f"n6convert.cli.{name.replace('-', '_')}").register(scratch)
    command = typer.main.get_group(scratch).commands[name]
    command.context_settings["help_option_names"] = _HELP
    return command


class _LazyCommand(TyperCommand):
    """Stands for a command in listings; becomes the real one when it is called or completed."""

    def __init__(self, name: str, group: str, sentence: str) -> None:
        super().__init__(name, help=sentence, rich_help_panel=group)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return self._real().make_context(info_name, args, parent, **extra)

    def _real(self) -> Any:
        return real_command(self.name or "")


class LazyGroup(TyperGroup):
    """The top-level command. A first word that is no command is a model, and means ``convert``."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return _LazyCommand(cmd_name, *COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if ctx.resilient_parsing and args and args[0] not in COMMANDS:  # completion
            args = ["convert", *args]
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        from click.shell_completion import CompletionItem

        from n6convert.cli.completion import models

        return [*super().shell_complete(ctx, incomplete), *(CompletionItem(name) for name in models(incomplete))]
