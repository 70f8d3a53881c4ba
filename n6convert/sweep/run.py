"""A sweep from start to page: resumable, one failure does not stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from n6convert.sweep.grid import GridPoint, expand
from n6convert.sweep.page import write_page
from n6convert.sweep.results import PointResult, load_results, save_result
from n6convert.sweep.workers import run_dask, run_processes
from n6convert.threads import available_cores

__all__ = ["sweep"]

Progress = Callable[[str, int, int | None], None]


def sweep(
    model: str,
    axes: Mapping[str, Sequence[Any]] | None,
    output: Path,
    *,
    common: Mapping[str, Any] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
) -> list[PointResult]:
    """Convert every combination of the axes and draw accuracy over predicted time and memory.

    Args:
        model: model or recipe name, or a file of either kind.
        axes: values by recipe key, e.g. ``{"options.imgsz": [192, 256]}``, over those of the recipe's own ``sweep``.
        output: gets one folder a point, ``points/*.json`` and ``sweep.html``; finished points are not run again.
        common: further arguments of :func:`n6convert.convert`, such as ``weights`` or ``calibration``.
        workers: processes at a time; default one a core.
        dask: address of a Dask scheduler to use instead of processes.

    Returns:
        results in the grid's order, failed ones included.

    Raises:
        UsageError: no axis, an empty one, or too large a grid.
        RecipeError: an axis names a recipe key that does not exist or a value it does not take, before anything runs.
        ToolError: the Dask scheduler cannot be reached.
        OutputError: the output cannot be written.
    """
    model = str(Path(model).resolve()) if Path(model).is_file() else model  # workers may run in another folder
    axes = _own_axes(model) | dict(axes or {})
    points = [_placed(point, output) for point in expand(model, axes, common or {})]
    _check(points)
    results = load_results(output / "points", [p.key for p in points])
    results = {key: result for key, result in results.items() if result.error is None}
    todo = [point for point in points if point.key not in results]
    count = min(workers or available_cores(), max(len(todo), 1))
    running = run_dask(todo, dask) if dask else run_processes(todo, count)
    for result in running if todo else ():
        results[result.key] = result
        save_result(output / "points", result)
        if progress:
            progress(result.label, len(results), len(points))
    ordered = [results[point.key] for point in points]
    write_page(output / "sweep.html", Path(model).stem, ordered)
    return ordered


def _own_axes(model: str) -> dict[str, Sequence[Any]]:
    from n6convert.api import make_draft

    return dict(make_draft(model).axes)


def _placed(point: GridPoint, output: Path) -> GridPoint:
    return replace(point, common={**point.common, "output": str((output / point.key).resolve())})


def _check(points: Sequence[GridPoint]) -> None:
    """Read every point's recipe, so that a wrong key is one message at once and not a failure a point."""
    from n6convert.api import effective_recipe, make_draft

    for point in points:
        draft = make_draft(point.model)
        for key, value in point.settings.items():
            draft.set(tuple(key.split(".")), value, f"sweep axis {key}")
        effective_recipe(draft)
