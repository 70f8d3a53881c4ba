"""What a recipe names outside itself, looked for before any work: a typo must not cost the stages before its use."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from n6convert.errors import RecipeError, SourceError, ToolError
from n6convert.naming import nearest
from n6convert.recipe.messages import KeyPath
from n6convert.results.acceptance import check_measurable
from n6convert.store.inputs import exists, user_path

if TYPE_CHECKING:
    from n6convert.recipe.draft import Draft
    from n6convert.recipe.schema import Recipe

__all__ = ["check_recipe"]


def check_recipe(recipe: Recipe, draft: Draft) -> None:
    """Raise for what can only fail later on.

    Raises:
        RecipeError: an unknown target, profile or rewrite, or a limit that this recipe cannot measure.
        SourceError: samples, labels or ranges that do not exist.
        ToolError: tuning is asked for and torch is not installed.
    """
    _check_boards(recipe, draft)
    _check_rewrites(recipe, draft)
    _check_weights(recipe, draft)
    _check_torch(recipe, draft)
    check_measurable(recipe)
    named = {
        ("calibration", "source"): recipe.calibration.source,
        ("evaluation", "source"): recipe.evaluation.source,
        ("quantization", "ranges_file"): recipe.quantization.ranges_file,
        ("compiler", "pools"): recipe.compiler.pools,
    }
    for key, value in named.items():
        if value is not None and not exists(user_path(value)):
            raise SourceError(
                f"`{'.'.join(key)}` names a file or folder that does not exist",
                place=_written(draft, key),
                found=value,
                remedy="check the path",
            )


def _check_boards(recipe: Recipe, draft: Draft) -> None:
    from n6convert.npu.targets import load_target

    key: KeyPath = ("target",)
    try:
        compiler = load_target(recipe.target).compiler
        key = ("package", "profiles")
        for board in recipe.package.profiles:
            load_target(f"{board}@{compiler}")
    except RecipeError as error:
        error.place = _written(draft, key)
        raise


def _check_weights(recipe: Recipe, draft: Draft) -> None:
    """Weights of four bits exist from core 3.0 on [#four-bit-weights]."""
    from n6convert.npu.targets import load_target

    target = load_target(recipe.target)
    if recipe.quantization.weights != "int8" and not target.has("int4_weights"):
        raise RecipeError(
            "this compiler has no four-bit weights",
            place=_written(draft, ("quantization", "weights")),
            limit="core 3.0 and later",
            found=target.compiler,
            remedy="--target stm32n6570-dk@4.0, or quantization.weights=int8",
        )


def _check_torch(recipe: Recipe, draft: Draft) -> None:
    if recipe.tune.enabled and find_spec("torch") is None:
        raise ToolError(
            "tuning needs torch, which is not installed",
            place=_written(draft, ("tune", "enabled")),
            remedy='pip install "n6convert[tune]"; without a GPU the CPU build of torch is enough',
        )


def _check_rewrites(recipe: Recipe, draft: Draft) -> None:
    """Names of rules; a plugin is loaded for its own only where the catalog does not know a name."""
    section = recipe.rewrite
    named = {"rules": section.rules, "exclude": section.exclude, "approximate": section.approximate}
    wanted = [(key, name) for key, names in named.items() if isinstance(names, list) for name in names]
    if not wanted:
        return
    from n6convert.rewrites import all_rules

    known = {rule.name for rule in all_rules()}
    if not known.issuperset(name for _, name in wanted):
        known |= _rules_of_plugin(recipe, draft)
    for key, name in wanted:
        if name not in known:
            close = nearest(name, known)
            raise RecipeError(
                f"there is no rewrite {name!r}",
                place=_written(draft, ("rewrite", key)),
                limit=", ".join(sorted(known)),
                remedy=f"did you mean {' or '.join(close)}?" if close else None,
            )


def _rules_of_plugin(recipe: Recipe, draft: Draft) -> set[str]:
    from n6convert.recipe.checking import check
    from n6convert.registry import load_plugin

    plugin = load_plugin(recipe.model)
    options = check(plugin.Options, recipe.options, draft, ("options",))
    return {rule.name for rule in plugin(recipe.model, options).rewrites()}


def _written(draft: Draft, key: KeyPath) -> str:
    return draft.places.get(key, ".".join(key))
