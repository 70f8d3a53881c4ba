"""A sweep from start to page: resumable, one failure does not stop the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from n6convert.runtime.threads import available_cores
from n6convert.store.cache import key_of, os_errors, write_atomically
from n6convert.store.inputs import is_file, is_folder
from n6convert.store.outputs import PAGE, TABLE, refuse_loss
from n6convert.sweeps.grid import GridPoint, expand
from n6convert.sweeps.page import write_page
from n6convert.sweeps.results import SweepResults, load_results, save_result
from n6convert.sweeps.workers import run_dask, run_processes
from n6convert.types import Progress

__all__ = ["sweep"]

#: arguments of a sweep that are keys of its recipe
_COMMON = {
    "weights": ("weights",), "target": ("target",),
    "calibration": ("calibration", "source"), "evaluation": ("evaluation", "source"),
}  # fmt: skip


def sweep(
    model: str,
    axes: Mapping[str, Sequence[Any]] | None,
    output: Path,
    *,
    common: Mapping[str, Any] | None = None,
    workers: int | None = None,
    dask: str | None = None,
    progress: Progress | None = None,
) -> SweepResults:
    """Convert every combination of the axes and draw accuracy over predicted time and memory.

    Args:
        model: model or recipe name, or a file of either kind.
        axes: values by recipe key, e.g. ``{"options.imgsz": [192, 256]}``, over those of the recipe's own ``sweep``.
        output: gets one folder a point, named by what varies, ``points/*.json``, ``sweep.html`` and ``sweep.csv``.
            Finished points are not run again, unless the recipe, a file it names or the version of n6convert changed.
        common: further arguments of :func:`n6convert.convert`, such as ``weights``, ``calibration`` or ``cache``;
            without a cache finished points run again, too.
        workers: processes at a time; default one a core.
        dask: address of a Dask scheduler to use instead of processes.
        progress: called as ``progress(what, done, total)`` when a point is finished.

    Returns:
        results in the grid's order, failed ones included.

    Raises:
        UsageError: no axis, an empty one, or too large a grid.
        RecipeError: an axis names a recipe key that does not exist or a value it does not take, before anything runs.
        ToolError: the Dask scheduler cannot be reached.
        OutputError: the output cannot be written.
    """
    model = str(Path(model).resolve()) if is_file(Path(model)) else model  # workers may run in another folder
    axes = _own_axes(model) | dict(axes or {})
    points = [_placed(_checked(point), output) for point in expand(model, axes, common or {})]
    refuse_loss(output / "sweep.html", PAGE)
    refuse_loss(output / "sweep.csv", TABLE)
    with os_errors(output):
        (output / "points").mkdir(parents=True, exist_ok=True)
    kept = [p.key for p in points] if (common or {}).get("cache", True) else []
    results = load_results(output / "points", kept)
    results = {key: result for key, result in results.items() if result.error is None}
    todo = [point for point in points if point.key not in results]
    count = min(workers or available_cores(), max(len(todo), 1))
    running = run_dask(todo, dask) if dask else run_processes(todo, count)
    for result in running if todo else ():
        results[result.key] = result
        save_result(output / "points", result)
        if progress:
            progress(result.label, len(results), len(points))
    ordered = SweepResults([results[point.key] for point in points], Path(model).stem)
    write_page(output / "sweep.html", Path(model).stem, ordered)
    write_atomically(output / "sweep.csv", ordered.to_csv().encode())
    return ordered


def _own_axes(model: str) -> dict[str, Sequence[Any]]:
    from n6convert.api import make_draft

    return dict(make_draft(model).axes)


def _placed(point: GridPoint, output: Path) -> GridPoint:
    """A folder that tells what is in it; the key keeps apart what has the same label."""
    name = f"{re.sub(r'[^A-Za-z0-9.]+', '-', point.label).strip('-')}-{point.key[:6]}"
    return replace(point, common={**point.common, "output": str((output / name).resolve())})


def _checked(point: GridPoint) -> GridPoint:
    """Read the point's recipe, so that a wrong key is one message at once and not a failure a point."""
    from n6convert import __version__
    from n6convert.api import effective_recipe, make_draft
    from n6convert.npu.targets import load_target

    draft = make_draft(point.model)
    for key, value in point.settings.items():
        draft.set(tuple(key.split(".")), value, f"sweep axis {key}")
    for key, path in _COMMON.items():
        if isinstance(value := point.common.get(key), str):
            draft.set(path, value, f"{key} of the sweep")
    if isinstance(compiler := point.common.get("compiler"), Mapping):
        draft.merge({"compiler": compiler}, {("compiler",): "compiler of the sweep"})
    recipe = effective_recipe(draft)
    sources = (recipe.calibration.source, recipe.evaluation.source)
    named = recipe.weights, *sources, recipe.quantization.ranges_file, recipe.compiler.pools
    files = [_stamps(Path(name)) for name in named if name]
    target = load_target(recipe.target).identity
    parts = {"recipe": recipe.model_dump(mode="json"), "target": target, "files": files, "version": __version__}
    return replace(point, state=key_of(parts))


def _stamps(path: Path) -> list[list[Any]]:
    """Names, sizes and times of a file, or of all files in a folder."""
    inside = (p for p in path.rglob("*") if p.is_file()) if is_folder(path) else [path] if is_file(path) else []
    files = sorted(inside)
    return [[str(p), (stat := p.stat()).st_size, stat.st_mtime_ns] for p in files]
