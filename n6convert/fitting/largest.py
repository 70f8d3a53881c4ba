"""The largest input of a registered model whose activations stay on the chip, and its time.

Sizes that the plugin accepts are searched: seeded weights, the plugin's graph, simplified and rewritten as a conversion
does, then taken as INT8 and placed. Nothing is calibrated; memory and time depend on operators and shapes.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from n6convert.errors import RecipeError, UsageError

if TYPE_CHECKING:
    from n6convert.pipeline.run import Progress
    from n6convert.recipe.draft import Draft

__all__ = ["Trial", "largest_input"]

STEP = 32
"""Sizes are multiples of it; a plugin may accept fewer."""
_LEAST, _FIRST, _MOST = 32, 256, 2048


@dataclass(frozen=True, slots=True)
class Trial:
    """One size that was built and placed; bytes and milliseconds as predicted for the INT8 graph."""

    size: int
    milliseconds: float
    low: float
    high: float
    activations: int
    external: int
    room: int
    """Bytes on the chip for activations."""
    fits: bool
    """All activations on the chip, and everything in some memory."""


def largest_input(draft: Callable[[], Draft], *, progress: Progress | None = None) -> tuple[Trial | None, list[Trial]]:
    """Search the sizes that a model accepts.

    Args:
        draft: makes the model's recipe anew, without a size.
        progress: called as ``progress(what, done, total)``.

    Returns:
        the largest size that stays on the chip (None: not even the smallest does), and all trials in order.

    Raises:
        UsageError: the model has no option ``imgsz``.
        N6ConvertError: the model cannot be built.
    """
    say = progress or (lambda what, done, total: None)
    sizes = [size for size in range(_LEAST, _MOST + 1, STEP) if _accepted(draft, size)]
    if not sizes:
        raise UsageError(
            "this model has no size to vary", place=draft().name, limit="a registered model with an option imgsz",
            remedy="n6convert models lists them; for a file, export it with another size",
        )  # fmt: skip
    trials: list[Trial] = []

    def tried(index: int) -> Trial:
        say(f"{sizes[index]} x {sizes[index]}", len(trials), len(trials) + 1)
        trials.append(_tried(draft, sizes[index]))
        return trials[-1]

    return _last(sizes, tried), trials


def _last(sizes: Sequence[int], tried: Callable[[int], Trial]) -> Trial | None:
    """The largest size that fits, when every smaller one does too.

    The next size tried is where memory would be full if it grew with the area, kept between those that are known.
    """
    low, high, best = -1, len(sizes), None
    probe = bisect.bisect_right(sizes, _FIRST) - 1
    while low < high - 1:
        found = tried(min(max(probe, low + 1), high - 1))
        at = sizes.index(found.size)
        low, high, best = (at, high, found) if found.fits else (low, at, best)
        full = found.size * math.sqrt(found.room / max(1, found.activations))
        probe = bisect.bisect_right(sizes, full) - 1
    return best


def _sized(draft: Callable[[], Draft], size: int) -> Draft:
    made = draft()
    made.set(("weights",), "seeded", "--largest")
    made.set(("options", "imgsz"), size, "--largest")
    return made


def _accepted(draft: Callable[[], Draft], size: int) -> bool:
    from n6convert.api import effective_recipe

    try:
        effective_recipe(_sized(draft, size))
    except RecipeError:
        return False
    return True


def _tried(draft: Callable[[], Draft], size: int) -> Trial:
    from n6convert.npu import estimate
    from n6convert.npu.options import of_recipe
    from n6convert.pipeline.run import Run
    from n6convert.pipeline.runner import run_stages
    from n6convert.pipeline.stages.export import Export
    from n6convert.pipeline.stages.rewrite import Rewrite
    from n6convert.pipeline.stages.simplify import Simplify
    from n6convert.recipe.checking import finish
    from n6convert.store.cache import Cache

    made = _sized(draft, size)
    recipe = finish(made)
    run = Run(recipe, made, Cache(), lambda what, done, total: None)
    stages: Sequence[Export | Simplify | Rewrite] = (Export(), Simplify(), Rewrite())
    with run.cache.users.run():
        run_stages(run, stages)
        model = run.artifacts["rewrite" if "rewrite" in run.artifacts else "simplify"].load()
    found = estimate(model, recipe.target, options=of_recipe(recipe), assume_quantized=True)
    time, memory = found.costs.latency, found.costs.memory
    fits = memory.fits and not memory.external
    room = sum(pool.size for pool in found.target.pools if pool.writable and not pool.external)
    return Trial(size, time.milliseconds, time.low, time.high, memory.activations, memory.external, room, fits)
