"""``n6convert rewrite FILE.onnx``: keep a float model's operators on the NPU, and say what was done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n6convert.cli.options import AsJson, Calibration, Force, Quiet, TargetName, examples, output

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.rewrites.config import RewriteConfig
    from n6convert.rewrites.select import RewriteResult

__all__ = ["register"]

_SAMPLES = 3
_Output = Annotated[Path | None, output("NAME.rewritten.onnx")]
_EXAMPLES = examples("n6convert rewrite network.onnx", "n6convert rewrite --list")


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
    target: TargetName = None,
    output: _Output = None,
    list_rules: Annotated[bool, typer.Option("--list", help="List all rules and stop.")] = False,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Rewrite a float model so that its operators stay on the NPU; prints what was applied, refused and gained."""
    from n6convert.errors import UsageError
    from n6convert.graph.io import save
    from n6convert.npu.targets import DEFAULT_TARGET
    from n6convert.outputs import MODEL, refuse_loss
    from n6convert.rewrites.prepare import batch_of_one
    from n6convert.rewrites.select import rewrite

    if list_rules:
        _print_rules(as_json)
        return
    if model is None:
        raise UsageError("which model?", remedy="n6convert rewrite FILE.onnx")
    config = _config(rules, exclude, approximate, combination)
    path = output or model.with_suffix(".rewritten.onnx")
    refuse_loss(path, MODEL, inputs=[model, *([Path(calibration)] if calibration else [])], force=force)
    graph = batch_of_one(_load(model))
    _refuse_sizes(graph, target or DEFAULT_TARGET)
    result = rewrite(graph, _feeds(graph, model, calibration), config, target=target or DEFAULT_TARGET)
    result.model.producer_name = "n6convert"
    save(result.model, path)
    if as_json:
        typer.echo(json.dumps(result.facts() | {"file": str(path)}, indent=2))
    elif not quiet:
        _print(result, path)


def _config(rules: str | None, exclude: str, approximate: str, combination: str | None) -> RewriteConfig:
    from pydantic import ValidationError

    from n6convert.errors import UsageError
    from n6convert.rewrites.config import RewriteConfig

    chosen: Any = "auto" if rules is None else "none" if rules == "none" else _names(rules)
    try:
        return RewriteConfig(
            rules=chosen, exclude=_names(exclude), approximate=_names(approximate), combination=combination
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            "a wrong option", place=f"--{first['loc'][0]}", limit=first["msg"], found=first["input"]
        ) from None


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _load(path: Path) -> ir.Model:
    from n6convert.graph.io import load
    from n6convert.opset import upgrade_opset

    return upgrade_opset(load(path), path)


def _refuse_sizes(model: ir.Model, target: str) -> None:
    from n6convert.graph.refusals import refuse_large_inputs, refuse_sizes
    from n6convert.npu.targets import load_target

    refuse_sizes(model)
    refuse_large_inputs(model, sum(pool.size for pool in load_target(target).pools if pool.writable), target)


def _feeds(graph: ir.Model, model: Path, source: str | None) -> Callable[[], Iterable[Mapping[str, Any]]] | None:
    """Samples by input name; None lets the proof draw random ones."""
    if source is None:
        return None
    if Path(source).suffix != ".npz":
        return _sampled(model, source)
    from n6convert.graph.query import shape_of
    from n6convert.plugin import ModelInfo, TensorInfo
    from n6convert.samples import open_samples

    inputs = tuple(
        TensorInfo(str(v.name), shape_of(v) or (), "float32" if v.dtype is None else v.dtype.numpy().name)
        for v in graph.graph.inputs
    )
    samples = open_samples(Path(source), "arrays", ModelInfo(inputs, (), {}), limit=_SAMPLES)
    return lambda: (sample.data for sample in samples if isinstance(sample.data, Mapping))


def _sampled(model: Path, source: str) -> Callable[[], Iterable[Mapping[str, Any]]]:
    """The first samples, encoded as a conversion of the file would."""
    from n6convert.cli.drafts import draft_of
    from n6convert.cli.quantize import prepared_run

    draft = draft_of(str(model), calibration=source, samples=_SAMPLES)
    run = prepared_run(draft, ("export",), lambda what, done, total: None)
    return lambda: run.sampling.first(_SAMPLES)


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
    console.print(table if table.rows else "nothing to rewrite: no rule found its pattern, or none was let run")
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
