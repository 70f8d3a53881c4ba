"""``n6convert.fit``: whether several models fit on one board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from n6convert.api import convert
from n6convert.errors import UsageError
from n6convert.fitting.advice import advise
from n6convert.fitting.firmware import write_firmware
from n6convert.fitting.page import write_page
from n6convert.fitting.plan import Together, plan
from n6convert.fitting.resident import Resident, with_unique_names
from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.targets import DEFAULT_TARGET, load_target
from n6convert.report.html import read_report, report_errors
from n6convert.results import ConversionResult
from n6convert.store.cache import os_errors
from n6convert.store.inputs import is_folder
from n6convert.store.outputs import PAGE, refuse_loss
from n6convert.types import Progress

__all__ = ["Fit", "fit"]


@dataclass(frozen=True)
class Fit:
    """Several models on one board, in the order in which they run."""

    together: Together
    target: str
    advice: Sequence[str]
    """What would make them fit, or faster."""
    page: Path | None
    """The HTML page, where one was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``n6convert fit --json`` prints it."""
        return self.together.facts() | {"advice": list(self.advice)}


def fit(
    models: Sequence[str | Path],
    *,
    target: str | None = None,
    weights: str = "seeded",
    pools: str | Path | None = None,
    output: str | Path | None = None,
    write: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Fit:
    """Check whether models fit on one board: shared buffers, flash map, time of a cascade in the order given.

    Args:
        models: folders of runs, their ``report.json``, or names of models, which are converted first.
        target: board and compiler version; by default that of the runs, which must agree.
        weights: of models that are given by name.
        pools: the project's own ``*.mpool``; by default that of the first run, then the target's.
        output: gets the HTML page; None: no page.
        write: gets the packages for one firmware, with a header and a source that run them in turn; None: nothing.
        cache: False makes every stage of models that are given by name run again.
        progress: called as ``progress(what, done, total)``.

    Raises:
        UsageError: fewer than two models, runs for different boards, or packages that cannot be written together.
        SourceError: a folder holds no readable report.
        N6ConvertError: a model by name did not convert.
    """
    names = [str(model) for model in models]
    if len(names) < 2:
        raise UsageError(
            "`fit` needs two models at least", found=", ".join(names), remedy="n6convert fit yolov8n-pose tinybert"
        )
    page = None if output is None else Path(output)
    if page is not None:
        refuse_loss(page, PAGE)
    say = progress or (lambda what, done, total: None)
    folders = [_folder(name) for name in names]
    own = None if pools is None else Path(pools).resolve()
    residents, board = _residents(
        names, target, partial(_converted, weights=weights, pools=own, cache=cache), say, folders
    )
    memories = _memories(names, board, pools)
    together = plan(with_unique_names(residents), memories)
    advice = advise(together, memories)
    if page is not None:
        with os_errors(page.parent):
            page.parent.mkdir(parents=True, exist_ok=True)
        write_page(page, together, board, advice)
    if write is not None:
        write_firmware(Path(write), [folder for folder in folders if folder], together, board, memories)
    return Fit(together, board, advice, page)


def _folder(name: str) -> Path | None:
    """Where a finished run's package lies; None for a model that is not converted yet."""
    path = Path(name)
    return (path if is_folder(path) else path.parent) if _is_run(name) else None


def _residents(
    models: Sequence[str],
    target: str | None,
    converted: Callable[[str, str], ConversionResult],
    progress: Progress,
    folders: list[Path | None],
) -> tuple[list[Resident], str]:
    """Every model's needs on one board: that of the runs given, which must agree, or the one asked for."""
    finished: dict[str, Resident] = {}
    for name in filter(_is_run, models):
        with report_errors(Path(name)):
            finished[name] = Resident.of(read_report(Path(name)))
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
    residents = []
    for i, name in enumerate(models):
        if name not in finished:
            progress(f"converting {name}", i, len(models))
            result = converted(name, board)
            folders[i] = result.folder
            residents.append(Resident.of(result.report))
        else:
            residents.append(finished[name])
    return residents, board


def _is_run(name: str) -> bool:
    path = Path(name)
    return is_folder(path) or path.suffix == ".json"


def _converted(name: str, target: str, *, weights: str, pools: Path | None, cache: bool) -> ConversionResult:
    settings = {} if pools is None else {"compiler.pools": str(pools)}
    return convert(name, settings=settings, weights=weights, target=target, cache=cache)


def _memories(models: Sequence[str], board: str, pools: str | Path | None) -> tuple[MemoryPool, ...]:
    """The pools of the board as the project has them: those given, else as the first run's package describes them."""
    target = load_target(board)
    if pools is None and is_folder(folder := Path(models[0])):
        described = folder / f"{target.label}.mpool"
        pools = described if described.exists() else None
    return (target if pools is None else target.with_pools(pools)).pools
