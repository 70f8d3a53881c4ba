"""``n6convert rewrite FILE.onnx``: keep a float model's operators on the NPU, and say what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from n6convert.cli.options import (
    AsJson,
    Calibration,
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
    from n6convert.rewrites.select import RewriteResult

__all__ = ["register"]

_Output = Annotated[Path | None, output("NAME.rewritten.onnx")]
_EXAMPLES = examples(
    "n6convert rewrite network.onnx",
    "n6convert rewrite network.onnx --set rewrite.recurrent_steps=200",
    "n6convert rewrite --list",
)


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("rewrite", epilog=_EXAMPLES)(_rewrite)


def _rewrite(
    model: Annotated[Path | None, typer.Argument(help="A float ONNX file with static shapes.")] = None,
    rules: Annotated[str | None, typer.Option(help="Only these rules, separated by commas; or `none`.")] = None,
    exclude: Annotated[str, typer.Option(help="Rules that must not run, separated by commas.")] = "",
    approximate: Annotated[str, typer.Option(help="Approximate rules that may run.")] = "",
    combination: Annotated[str | None, typer.Option(help="A, B, C or D: lowerings of a transformer.")] = None,
    calibration: Calibration = None,
    samples: Samples = None,
    target: TargetName = None,
    output: _Output = None,
    list_rules: Annotated[bool, typer.Option("--list", help="List all rules and stop.")] = False,
    settings: Settings = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_cache: NoCache = False,
) -> None:
    """Rewrite a float model so that its operators stay on the NPU; prints what was applied, refused and gained."""
    from n6convert.api.rewriting import rewrite_draft
    from n6convert.cli.drafts import draft_of
    from n6convert.cli.progress import progress_on_stderr
    from n6convert.errors import UsageError
    from n6convert.graph.io import load

    if list_rules:
        _print_rules(as_json)
        return
    if model is None:
        raise UsageError("which model?", remedy="n6convert rewrite FILE.onnx")
    path = output or model.with_suffix(".rewritten.onnx")
    loaded = load(model)  # a file that cannot be read is said to be one before anything about its recipe
    given = {
        "rules": rules if rules in (None, "none") else _names(rules), "exclude": _names(exclude),
        "approximate": _names(approximate), "combination": combination,
    }  # fmt: skip
    draft = draft_of(str(model), settings, calibration=calibration, samples=samples, target=target)
    with progress_on_stderr(quiet or as_json) as progress:
        result = rewrite_draft(
            draft, model, loaded, given, output=path, cache=not no_cache, progress=progress, force=force
        )
    if as_json:
        typer.echo(json.dumps(result.facts() | {"file": str(path)}, indent=2))
    elif not quiet:
        _print(result, path)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _print_rules(as_json: bool) -> None:
    from n6convert.rewrites.catalog import all_rules

    if as_json:
        facts = [{"rule": r.name, "summary": r.summary, "exact": r.exact, "price": r.price} for r in all_rules()]
        typer.echo(json.dumps(facts, indent=2))
        return
    for rule in all_rules():
        kind = "" if rule.exact else f" (approximate: {rule.price})"
        typer.echo(f"{rule.name:24} {rule.summary}{kind}")


def _print(result: RewriteResult, path: Path) -> None:
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal

    console = terminal()
    table = Table("rule", "times", "gain, ms", "first place")
    for line in result.facts()["applied"]:
        gain = "" if line["gain_ms"] is None else f"{line['gain_ms']:.3f}"
        table.add_row(shown(line["rule"]), str(line["times"]), gain, shown(line["where"][0].split("/~")[0]))
    console.print(table if table.rows else "no rewrite applied: no rule found its pattern, or none was allowed")
    for line in result.facts()["applied"]:
        for because in line["because"]:
            console.print(f"{line['rule']}: {because}", highlight=False, markup=False)
    for choice in result.choices:
        others = ", ".join(f"{ms:.3f} ms {form}" for form, ms in choice.milliseconds.items() if form != choice.form)
        took = f"{choice.form}, {choice.milliseconds[choice.form]:.3f} ms for the whole graph instead of {others}"
        console.print(f"{choice.rule}: {choice.place}: {took}", highlight=False, markup=False)
    for reason in dict.fromkeys((r.rule, r.reason) for r in result.refused):
        console.print(f"refused {reason[0]}: {reason[1]}", highlight=False, markup=False)
    if result.before is not None and result.after is not None:
        console.print(f"predicted {result.before:.2f} ms -> {result.after:.2f} ms as INT8")
    console.print(
        f"largest difference {result.difference:.1e} of the outputs' range; written to {path}",
        highlight=False,
        markup=False,
    )
