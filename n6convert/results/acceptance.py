"""The recipe's ``acceptance`` limits against what a run found."""

from __future__ import annotations

from collections.abc import Callable

from n6convert.errors import AcceptanceError, RecipeError
from n6convert.recipe.schema import Recipe
from n6convert.results import LimitReport, Report

__all__ = ["judge", "check_measurable", "rejection"]

Finder = Callable[[Report], "float | bool | None"]


def check_measurable(recipe: Recipe) -> None:
    """Raise RecipeError, before any work, for a limit that this recipe cannot measure."""
    if recipe.acceptance.max_drop is not None and recipe.evaluation.source is None:
        raise RecipeError(
            "`acceptance.max_drop` needs labeled samples, and the recipe names none",
            place="acceptance.max_drop",
            remedy="set `evaluation.source` (--evaluate), or remove the limit",
        )


def judge(recipe: Recipe, report: Report) -> list[LimitReport]:
    """Every limit the recipe sets, with the value found; a value that could not be measured breaks its limit."""
    judged = []
    for name, (find, kept) in _LIMITS.items():
        allowed = getattr(recipe.acceptance, name)
        if allowed is None or allowed is False:
            continue
        found = find(report)
        fine = found is not None and kept(float(found), float(allowed))
        judged.append(LimitReport(limit=name, allowed=allowed, found=found, kept=fine))
    return judged


def rejection(report: Report, kept_at: object) -> AcceptanceError:
    """The error for a run that broke limits."""
    broken = [limit for limit in report.acceptance if not limit.kept]
    return AcceptanceError(
        "the model converted, but breaks the recipe's acceptance; nothing was published under the final name",
        place=", ".join(f"acceptance.{limit.limit}" for limit in broken),
        limit=", ".join(f"{limit.limit} {limit.allowed}" for limit in broken),
        found=", ".join(f"{'not measured' if limit.found is None else limit.found}" for limit in broken),
        remedy=f"look at {kept_at}, then change the recipe or the limit",
    )


def _sqnr(report: Report) -> float | None:
    known = [value for value in report.sqnr_db.values() if value is not None]
    return min(known) if known else (float("1e9") if report.sqnr_db else None)


def _internal(report: Report) -> bool | None:
    """Whether every activation finds a place, and none of them off the chip."""
    return report.memory.fits and not report.memory.external if report.memory else None


def _at_most(found: float, allowed: float) -> bool:
    return found <= allowed


def _at_least(found: float, allowed: float) -> bool:
    return found >= allowed


_LIMITS: dict[str, tuple[Finder, Callable[[float, float], bool]]] = {
    "max_drop": (lambda r: r.accuracy.drop if r.accuracy else None, _at_most),
    "min_sqnr_db": (_sqnr, _at_least),
    "min_offload": (lambda r: r.placement.after.offload if r.placement else None, _at_least),
    "max_milliseconds": (lambda r: r.latency.milliseconds if r.latency else None, _at_most),
    "max_flash": (lambda r: r.memory.weights if r.memory else None, _at_most),
    "must_fit_internal": (_internal, _at_least),
}
