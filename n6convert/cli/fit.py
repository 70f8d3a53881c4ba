"""``n6convert fit MODEL MODEL ...``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from n6convert.cli.options import AsJson, Quiet, TargetName, Weights, examples, output
from n6convert.inputs import is_folder
from n6convert.report.words import kib

if TYPE_CHECKING:
    from n6convert.fitting.plan import Together
    from n6convert.fitting.resident import Resident

__all__ = ["register"]

_Output = Annotated[Path | None, output("build/fit.html")]
_EXAMPLES = examples("n6convert fit build/yolov8n build/tinybert", "n6convert fit yolov8n-pose tinybert -o page.html")


def register(app: typer.Typer) -> None:
    """Add the command ``fit`` to the application."""
    app.command("fit", epilog=_EXAMPLES)(_fit)


def _fit(
    models: Annotated[list[str], typer.Argument(help="Folders of runs, or names of models.", show_default=False)],
    target: TargetName = None,
    weights: Weights = "seeded",
    output: _Output = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Check whether models fit on one board: shared buffers, flash map, time of a cascade in the order given."""
    from n6convert.cache import writing
    from n6convert.errors import UsageError
    from n6convert.fitting import advise, plan, told_apart
    from n6convert.fitting.page import write_page
    from n6convert.npu.targets import load_target
    from n6convert.outputs import PAGE, refuse_loss

    if len(models) < 2:
        raise UsageError(
            "`fit` needs two models at least", found=", ".join(models), remedy="n6convert fit yolov8n-pose tinybert"
        )
    page = output or Path("build/fit.html")
    refuse_loss(page, PAGE)
    residents, board = _residents(models, target, weights or "seeded")
    pools = load_target(board).pools
    together = plan(told_apart(residents), pools)
    advice = advise(together, pools)
    with writing(page.parent):
        page.parent.mkdir(parents=True, exist_ok=True)
    write_page(page, together, board, advice)
    if as_json:
        typer.echo(json.dumps(together.facts() | {"advice": advice}, indent=2))
    elif not quiet:
        _print(together, advice, page)
    if not together.fits:
        raise typer.Exit(3)


def _residents(models: Sequence[str], target: str | None, weights: str) -> tuple[list[Resident], str]:
    """Every model's needs on one board: that of the runs given, which must agree, or the one asked for."""
    from n6convert.errors import UsageError
    from n6convert.fitting import Resident
    from n6convert.npu.targets import DEFAULT_TARGET
    from n6convert.report.html import damage_named

    finished: dict[str, Resident] = {}
    for name in filter(_is_run, models):
        with damage_named(Path(name)):
            finished[name] = Resident.of(_read(name))
    board = target or next((r.target for r in finished.values()), DEFAULT_TARGET)
    for name, resident in finished.items():
        if resident.target != board:
            raise UsageError(
                "the runs are for different boards or compilers",
                place=name,
                limit=board,
                found=resident.target,
                remedy=f"convert it again with --target {board}",
            )
    return [finished[name] if name in finished else _converted(name, board, weights) for name in models], board


def _is_run(name: str) -> bool:
    path = Path(name)
    return is_folder(path) or path.suffix == ".json"


def _read(name: str) -> Mapping[str, Any]:
    from n6convert.report.html import read_report

    return read_report(Path(name))


def _converted(name: str, target: str, weights: str) -> Resident:
    from n6convert import convert
    from n6convert.cli.terminal import say
    from n6convert.fitting import Resident

    say(f"converting {name} ({weights} weights)", error=True)
    return Resident.of(convert(name, weights=weights, target=target).report.model_dump(mode="json", by_alias=True))


def _print(together: Together, advice: Sequence[str], page: Path) -> None:
    from rich.table import Table

    from n6convert.cli.terminal import shown, terminal
    from n6convert.fitting.page import verdict

    table = Table("turn", "activations", "results", "weights at", "ms (predicted)", box=None, pad_edge=False)
    for resident, region in zip(together.residents, together.flash, strict=True):
        table.add_row(
            shown(resident.name),
            kib(resident.activations),
            kib(resident.results),
            f"0x{region.start:08x}",
            f"{resident.milliseconds:.2f}",
        )
    best, low, high = together.milliseconds
    console = terminal()
    console.print(table)
    console.print(
        f"together they [{'green' if together.fits else 'red'}]{verdict(together)}[/]: {kib(together.shared)} of "
        f"{kib(together.on_chip)} on-chip RAM in turn ({kib(together.separate)} if none shared), "
        f"{kib(together.flash_used)} of flash, {best:.2f} ms a frame (likely {low:.2f} to {high:.2f})",
        highlight=False,
    )
    for line in advice:
        console.print(f"[yellow]{shown(line)}[/]", highlight=False)
    console.print(f"page: {shown(page)}", soft_wrap=True)
