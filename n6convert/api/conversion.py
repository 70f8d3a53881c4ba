"""``n6convert.convert`` and the drafts of recipes behind every function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.errors import UsageError
from n6convert.naming import nearest
from n6convert.recipe.checking import finish
from n6convert.recipe.draft import Draft, draft_of_model
from n6convert.recipe.reader import draft_of_file, over_project, recipe_files
from n6convert.recipe.schema import Recipe
from n6convert.registry import ModelEntry, list_models, sole_entry
from n6convert.store.cache import Cache
from n6convert.store.inputs import exists, is_file, no_such_file

if TYPE_CHECKING:
    from n6convert.pipeline.run import Progress, Run
    from n6convert.results import ConversionResult

__all__ = ["convert", "convert_draft", "effective_recipe", "keyed", "make_draft", "models", "tune"]

#: how often a run starts over when its cache is deleted under it
_TRIES = 4
_MODEL_SUFFIXES = {".onnx", ".tflite", ".keras", ".h5", ".pb"}
_RECIPE_SUFFIXES = {".yaml", ".yml"}
#: bytes that tell text from a model, which holds control characters
_HEAD, _FIRST_PRINTABLE = 256, 32

ModelOrRecipe = str | Path | Recipe | Mapping[str, Any]


def models() -> list[ModelEntry]:
    """Every registered model with its distribution, version and state; imports no plugin."""
    return list_models()


def convert(
    model_or_recipe: ModelOrRecipe,
    *,
    weights: str | Path | None = None,
    calibration: str | Path | Mapping[str, Any] | None = None,
    evaluation: str | Path | Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    force: bool = False,
    **overrides: Any,
) -> ConversionResult:
    """Convert a model for the STM32N6.

    Args:
        model_or_recipe: a registered model (``"yolov8n"``), a recipe's name or path, a model file of your own
            (``.onnx``, ``.tflite``, ...), or a :class:`~n6convert.recipe.schema.Recipe` or its content.
        weights: ``"pretrained"``, ``"seeded"`` or a path.
        calibration: folder or file of samples, or keys of the recipe's ``calibration`` section.
        evaluation: labeled samples, or keys of the recipe's ``evaluation`` section.
        output: folder for the result; default ``build/<name>``.
        settings: recipe keys by dotted path: ``{"quantization.ranges": "mse"}``.
        cache: False makes every stage run again.
        progress: called as ``progress(what, done, total)``; total may be None.
        force: replace files in the output folder that n6convert did not write.
        overrides: top-level recipe keys (sections as mappings), or the plugin's own options such as ``imgsz=256``.

    Returns:
        the folder, the model's path, report and manifest.

    Raises:
        UsageError: unknown model, wrong recipe (RecipeError).
        AcceptanceError: converted, but a limit of the recipe is broken; nothing was published.
        N6ConvertError: anything else that went wrong, with stage, place, limit and remedy.
    """
    draft = keyed(
        make_draft(model_or_recipe),
        weights=weights, calibration=calibration, evaluation=evaluation, output=output, settings=settings, **overrides,
    )  # fmt: skip
    return convert_draft(draft, cache=cache, progress=progress, force=force)


def keyed(draft: Draft, *, settings: Mapping[str, Any] | None = None, **keys: Any) -> Draft:
    """A draft with keyword arguments laid over it, and settings by dotted path over those; None was not given."""
    for key, value in keys.items():
        if value is not None:
            _override(draft, key, value)
    for key, value in (settings or {}).items():
        draft.set(tuple(key.split(".")), value, f"settings[{key!r}]")
    return draft


def tune(
    model_or_recipe: ModelOrRecipe, *, settings: Mapping[str, Any] | None = None, **arguments: Any
) -> ConversionResult:
    """Convert a model and train its INT8 numbers against the float model; needs ``n6convert[tune]``.

    Args:
        settings, arguments: as :func:`convert` takes them; keys of the recipe's ``tune`` section say how long.

    Raises:
        ToolError: torch is not installed.
        N6ConvertError: as :func:`convert`.
    """
    return convert(model_or_recipe, settings={"tune.enabled": True} | dict(settings or {}), **arguments)


def make_draft(model_or_recipe: ModelOrRecipe) -> Draft:
    """The recipe behind what the user named, over the project's defaults, not yet checked.

    Raises:
        UsageError: there is no such model, recipe or file; the nearest names are given.
    """
    if isinstance(model_or_recipe, Recipe):
        return Draft(model_or_recipe.model_dump(mode="json"), name=model_or_recipe.model)
    if isinstance(model_or_recipe, Mapping):
        draft = Draft({}, name=str(model_or_recipe.get("model", "recipe")))
        draft.merge(model_or_recipe, {})  # a copy: what is set later is not the caller's
        return draft
    draft = _named_draft(model_or_recipe)
    return over_project(draft, of_model=str(model_or_recipe) == draft.values.get("model"))


def _named_draft(model_or_recipe: str | Path) -> Draft:
    """The recipe behind a model's name, a recipe's name or path, or a model file."""
    name, path = str(model_or_recipe), Path(model_or_recipe)
    if path.suffix.lower() in _RECIPE_SUFFIXES or _is_text(path):
        return draft_of_file(_existing(path))
    recipes = recipe_files()
    if name in recipes:
        draft = draft_of_file(recipes[name])
        draft.values.setdefault("model", name)
        return draft
    registered = {entry.name for entry in list_models()}
    if name not in registered and (path.suffix.lower() in _MODEL_SUFFIXES or exists(path) or path.name != name):
        return Draft({"model": "onnx", "weights": str(_existing(path))}, name=path.name)
    if name not in registered and path.suffix and (error := no_such_file(path, UsageError)).remedy:
        raise error
    if name not in registered and (close := nearest(name, recipes)):
        raise UsageError(
            f"there is no model or recipe {name!r}",
            limit=", ".join(sorted(registered | set(recipes))),
            remedy=f"did you mean {' or '.join(nearest(name, registered | set(close)))}?",
        )
    sole_entry(name)
    return draft_of_model(name)


def _is_text(path: Path) -> bool:
    """Whether a file without an ending is text, as no model is."""
    if path.suffix or path.parent == Path() or not is_file(path):
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return bool(head) and not any(byte < _FIRST_PRINTABLE and byte not in b"\t\r\n" for byte in head)


def convert_draft(
    draft: Draft, *, cache: bool | Cache = True, progress: Progress | None = None, force: bool = False
) -> ConversionResult:
    """Convert by a draft; see :func:`convert`. ``cache`` may also be one of the caller's own.

    Args:
        draft: of the recipe.
        cache: False makes every stage run again; or a cache of the caller's own.
        progress: called as ``progress(what, done, total)``; total may be None.
        force: replace files in the output folder that n6convert did not write.
    """
    from n6convert.pipeline.preflight import check_recipe
    from n6convert.pipeline.publish import EVERY_PACKAGE, holding
    from n6convert.pipeline.run import Run

    recipe = finish(draft)
    check_recipe(recipe, draft)
    say = progress or (lambda what, done, total: None)
    run = Run(recipe, draft, Cache(reuse=cache) if isinstance(cache, bool) else cache, say)
    folder = Path(recipe.output or Path("build") / run.name)
    with holding(folder, say, expected=EVERY_PACKAGE, force=force), run.cache.users.run():
        result = _lasting(run, lambda: _made(run, folder, force))
    run.cache.prune()
    return result


def _lasting(run: Run, make: Callable[[], ConversionResult]) -> ConversionResult:
    """What ``make`` gives, again where somebody deleted the cache meanwhile: what is still there is used."""
    for _ in range(_TRIES - 1):
        try:
            return make()
        except Exception:
            if not run.cache.lost(artifact.entry for artifact in run.artifacts.values()):
                raise
            run.artifacts.clear()
    return make()


def effective_recipe(draft: Draft) -> Recipe:
    """The recipe with every default filled in, the plugin's options included (this loads the plugin).

    Raises:
        RecipeError: an unknown key or a wrong value, also among the options.
    """
    from n6convert.recipe.checking import check
    from n6convert.registry import load_plugin

    recipe = finish(draft)
    options = check(load_plugin(recipe.model).Options, recipe.options, draft, ("options",))
    return recipe.model_copy(update={"options": options.model_dump(mode="json")})


def _made(run: Run, folder: Path, force: bool) -> ConversionResult:
    from n6convert.pipeline.runner import run_stages

    run_stages(run)
    result = _published(run, folder, force)
    run.progress("done", 1, 1)
    return result


def _published(run: Run, folder: Path, force: bool) -> ConversionResult:
    from n6convert.pipeline.manifest import make_manifest, to_json
    from n6convert.pipeline.publish import publish
    from n6convert.pipeline.reporting import make_report
    from n6convert.report.html import write_report
    from n6convert.results import ConversionResult
    from n6convert.results.acceptance import rejection

    package = run.artifacts["package"].entry
    report = make_report(run, package.files)
    manifest = make_manifest(run, package.files)
    accepted = report.status == "accepted"
    final = folder if accepted else folder.with_name(f"{folder.name}-rejected")
    content = report.model_dump(mode="json", by_alias=True)
    publish(
        final,
        package.folder,
        package.files,
        to_json(content),
        to_json(manifest),
        draw=lambda folder: write_report(report, folder, force=True),
        force=force,
    )
    if not accepted:
        raise rejection(report, final / "report.json")
    return ConversionResult(final, final / package.facts["model"], report, manifest)


def _override(draft: Draft, key: str, value: Any) -> None:
    """Lay one keyword argument over the draft: a recipe key, a section's source, or an option of the plugin."""
    place = f"argument {key}"
    if key in {"calibration", "evaluation"} and not isinstance(value, Mapping):
        draft.set((key, "source"), str(value), place)
    elif key in Recipe.model_fields:
        plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        draft.merge({key: str(plain) if isinstance(plain, Path) else plain}, {(key,): place})
    else:
        draft.set(("options", key), value, place)


def _existing(path: Path) -> Path:
    if exists(path):
        return path
    raise no_such_file(path, UsageError)
