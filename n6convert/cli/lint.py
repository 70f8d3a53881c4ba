"""``n6convert lint FILE.onnx``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from n6convert.cli.options import AsJson, TargetName, examples

if TYPE_CHECKING:
    from n6convert.linter.finding import Finding

__all__ = ["register"]

_EXAMPLES = examples("n6convert lint network.onnx", "n6convert lint network_int8.onnx --level warning --json")
_COLOR = {"error": "red", "warning": "yellow", "info": "cyan"}


def register(app: typer.Typer) -> None:
    """Add the command ``lint`` to the application."""
    app.command("lint", epilog=_EXAMPLES)(_lint)


def _lint(
    file: Annotated[Path, typer.Argument(help="An ONNX file, float or QDQ.", show_default=False)],
    target: TargetName = None,
    as_json: AsJson = False,
    minimum: Annotated[str, typer.Option("--level", help="Least severity shown: info, warning or error.")] = "info",
) -> None:
    """Check a model for ST Edge AI compatibility: what it refuses, runs in float or on the CPU, and the remedy."""
    from n6convert.api.linting import lint
    from n6convert.errors import UsageError
    from n6convert.linter import Severity

    order = [str(s) for s in Severity]
    if minimum not in order:
        raise UsageError("unknown severity", found=minimum, limit=", ".join(order))
    findings = lint(file, target)
    selected = [f for f in findings if order.index(f.severity) <= order.index(minimum)]
    if as_json:
        typer.echo(json.dumps([f.as_dict() for f in selected], indent=2))
    else:
        _print(selected, findings, file)
    if any(f.severity is Severity.ERROR for f in findings):
        raise typer.Exit(1)


def _print(selected: list[Finding], findings: list[Finding], file: Path) -> None:
    """One block a rule: the sentence once, then its places."""
    from n6convert.cli.terminal import shown, terminal
    from n6convert.reference import footer

    console = terminal()
    for rule in dict.fromkeys((f.rule, f.severity) for f in selected):
        group = [f for f in selected if (f.rule, f.severity) == rule]
        color = _COLOR[str(rule[1])]
        console.print(f"[{color}]{rule[1]}[/] [bold]{rule[0]}[/] ({len(group)}): {shown(group[0].limit)}")
        for finding in group[:5]:
            place = finding.node or finding.tensor or "model"
            console.print(f"    {shown(place)}: {shown(finding.found)}", soft_wrap=True)
        if len(group) > 5:
            console.print(f"    and {len(group) - 5} more (--json shows all)")
        console.print(f"    remedy: {shown(group[0].remedy)} ({shown(group[0].evidence)})")
    if line := footer(f.evidence for f in selected):
        console.print(shown(line), style="dim")
    counts = {s: sum(str(f.severity) == s for f in findings) for s in _COLOR}
    console.print(f"{shown(str(file))}: " + ", ".join(f"{n} {s}{'s' * (n != 1)}" for s, n in counts.items()))
