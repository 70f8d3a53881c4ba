"""What a recipe names outside itself, looked for before any work: a typo must not cost the stages before its use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.acceptance import refuse_unjudgeable
from n6convert.errors import RecipeError, SourceError
from n6convert.recipe_errors import KeyPath

if TYPE_CHECKING:
    from n6convert.recipe import Recipe
    from n6convert.recipes_io import Draft

__all__ = ["refuse_hopeless"]


def refuse_hopeless(recipe: Recipe, draft: Draft) -> None:
    """Raise for what can only fail later on.

    Raises:
        RecipeError: an unknown target or profile, or a limit that this recipe cannot measure.
        SourceError: samples, labels or ranges that do not exist.
    """
    _check_boards(recipe, draft)
    refuse_unjudgeable(recipe)
    named = {
        ("calibration", "source"): recipe.calibration.source,
        ("evaluation", "source"): recipe.evaluation.source,
        ("quantization", "ranges_file"): recipe.quantization.ranges_file,
    }
    for key, value in named.items():
        if value is not None and not Path(value).expanduser().exists():
            raise SourceError(
                f"`{'.'.join(key)}` names a file or folder that does not exist", place=_written(draft, key),
                found=value, remedy="check the path",
            )


def _check_boards(recipe: Recipe, draft: Draft) -> None:
    from n6convert.npu.targets import load_target

    key: KeyPath = ("target",)
    try:
        compiler = load_target(recipe.target).name.partition("@")[2]
        key = ("package", "profiles")
        for board in recipe.package.profiles:
            load_target(f"{board}@{compiler}")
    except RecipeError as error:
        error.place = _written(draft, key)
        raise


def _written(draft: Draft, key: KeyPath) -> str:
    return draft.places.get(key, ".".join(key))
