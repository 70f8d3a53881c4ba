"""Commands that other parts of n6convert bring, imported only when they are called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

__all__ = ["COMMANDS", "LazyGroup"]

#: command -> module whose ``register(app)`` adds it, and the sentence for ``--help``
COMMANDS: dict[str, tuple[str, str]] = {
    "diff": ("n6convert.cli.report", "What changed between two runs."),
    "fit": ("n6convert.cli.fit", "Do several converted models fit one board together?"),
    "new-plugin": ("n6convert.cli.new_plugin", "Write a working plugin distribution to start from."),
    "report": ("n6convert.cli.report", "Draw report.html again for a run of any age."),
    "sweep": ("n6convert.cli.sweep", "Convert a model over a grid of choices and draw the Pareto front."),
    "compare": ("n6convert.cli.compare", "Hold the prediction for a model against ST's report of it."),
    "compile": ("n6convert.cli.compare", "Compile a package with ST Edge AI and compare its report."),
    "estimate": ("n6convert.cli.estimate", "Predict placement, time and memory of a quantized model."),
    "explain": ("n6convert.cli.estimate", "Say what decides where an operator runs."),
    "quantize": ("n6convert.cli.quantize", "Turn a float ONNX file into INT8 QDQ as the NPU takes it."),
    "debug": ("n6convert.cli.quantize", "Show where INT8 loses accuracy, tensor by tensor."),
    "rewrite": ("n6convert.cli.rewrite", "Rewrite a float ONNX file so that its operators stay on the NPU."),
    "lint": ("n6convert.cli.lint", "Say what ST Edge AI would refuse, or run in float or on the CPU."),
}


class _LazyCommand(TyperCommand):
    """Stands for a command in listings; becomes the real one when it is called."""

    def __init__(self, name: str, module: str, sentence: str) -> None:
        super().__init__(name, help=sentence)
        self._module = module

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return self._real().make_context(info_name, args, parent, **extra)

    def _real(self) -> Any:
        scratch = typer.Typer(pretty_exceptions_enable=False)
        scratch.callback()(lambda: None)
        import_module(self._module).register(scratch)
        return typer.main.get_group(scratch).commands[self.name or ""]


class LazyGroup(TyperGroup):
    """The top-level command: its own subcommands first, then the table's."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in COMMANDS:
            return _LazyCommand(cmd_name, *COMMANDS[cmd_name])
        return super().get_command(ctx, cmd_name)
