"""``n6convert explain OPERATOR``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n6convert.cli.options import AsJson, TargetName, examples

if TYPE_CHECKING:
    from n6convert.npu.explanation import Explanation

__all__ = ["register"]

_EXAMPLES = examples(
    "n6convert explain Softmax", "n6convert explain Concat --target stm32n6570-dk@2.1", "n6convert explain r15"
)


def register(app: typer.Typer) -> None:
    """Add the command ``explain``."""
    app.command("explain", epilog=_EXAMPLES)(_explain)


def _explain(
    operator: Annotated[str | None, typer.Argument(help="An ONNX operator (Softmax), or a citation ('#r15').")] = None,
    target: TargetName = None,
    table: Annotated[bool, typer.Option("--table", help="All operators, all versions, as a Markdown table.")] = False,
    as_json: AsJson = False,
) -> None:
    """Explain the placement rules of an operator: where it runs, the evidence, and the remedy."""
    from n6convert.npu.explanation import explain, operator_table
    from n6convert.npu.targets import DEFAULT_TARGET, load_target
    from n6convert.recipe.project import default_target
    from n6convert.reference import is_citation, paragraph

    if operator and is_citation(operator):
        text = paragraph(operator)
        typer.echo(json.dumps({"anchor": operator, "text": text}, indent=2) if as_json else text)
        return
    if table or operator is None:
        typer.echo(operator_table(), nl=False)
        return
    found = explain(operator, load_target(target or default_target() or DEFAULT_TARGET).version)
    if as_json:
        typer.echo(json.dumps(_plain(found), indent=2))
        return
    from n6convert.cli.tables import print_explanation
    from n6convert.cli.terminal import terminal

    print_explanation(found, terminal())


def _plain(found: Explanation) -> dict[str, Any]:
    rules = [
        {
            "rule": rule.name,
            "where": rule.where.value,
            "float": rule.float,
            "sentence": rule.sentence,
            "evidence": rule.evidence,
            "remedy": rule.remedy,
            "rewrite": rule.rewrite,
        }
        for rule in found.rules
    ]
    return {"op": found.op, "version": list(found.version), "rules": rules}
