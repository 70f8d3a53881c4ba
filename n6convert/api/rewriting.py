"""``n6convert.rewrite``: a float model's operators kept on the NPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pydantic import ValidationError

from n6convert.api.conversion import keyed, make_draft
from n6convert.api.quantizing import prepared_run
from n6convert.errors import UsageError
from n6convert.graph.io import load, save
from n6convert.graph.opset import upgrade_opset
from n6convert.graph.query import shape_of
from n6convert.graph.refusals import refuse_large_inputs, refuse_sizes, refuse_unknown
from n6convert.npu.options import target_of
from n6convert.plugin import ModelInfo, TensorInfo
from n6convert.recipe.checking import finish
from n6convert.recipe.draft import Draft
from n6convert.recipe.schema import Recipe
from n6convert.rewrites import RewriteConfig, RewriteResult
from n6convert.rewrites import rewrite as rewrite_graph
from n6convert.rewrites.prepare import batch_of_one
from n6convert.samples import open_samples
from n6convert.store.outputs import MODEL, refuse_loss
from n6convert.types import Progress, within

__all__ = ["rewrite", "rewrite_draft"]

Feeding = Callable[[], Iterable[Mapping[str, Any]]]
#: samples that the proof runs
_SAMPLES = 3


def rewrite(
    model: str | Path,
    *,
    output: str | Path | None = None,
    rules: str | Sequence[str] = "auto",
    exclude: Sequence[str] = (),
    approximate: Sequence[str] = (),
    combination: str | None = None,
    calibration: str | Path | None = None,
    samples: int | None = None,
    target: str | None = None,
    settings: Mapping[str, Any] | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    force: bool = False,
) -> RewriteResult:
    """Rewrite a float model so that its operators stay on the NPU, each application proven on samples.

    Args:
        model: a float ONNX file with static shapes.
        output: where the result is written; None: nowhere, it is in the result's ``model``.
        rules: names of the only rules that run, ``"auto"`` for all that pay, ``"none"``.
        exclude: names of rules that must not run.
        approximate: names of approximate rules that may.
        combination: ``"A"`` to ``"D"``: lowerings of a transformer.
        calibration: samples for the proof; None: random ones.
        samples: how many of them, at most; None: three.
        target: board and compiler version that time is predicted for; None: the default one.
        settings: recipe keys by dotted path: ``{"rewrite.recurrent_steps": 200}``.
        cache: False reads a model that the pipeline has to read (``options``, encoded samples) again.
        progress: called as ``progress(what, done, total)``; total may be None.
        force: replace an output that n6convert did not write.

    Returns:
        the graph, what was applied, refused and gained, and the largest difference of the outputs.

    Raises:
        UsageError: an unknown rule or combination, or the output is the input.
        GraphError: the file is no valid model, or too large for the board's memories.
        RewriteError: a rule changed what the model computes.
    """
    loaded = load(Path(model))  # a file that cannot be read is said to be one before anything about its recipe
    draft = keyed(make_draft(str(model)), settings=settings, target=target)
    for key, value in (("source", calibration), ("samples", samples)):
        if value is not None:
            draft.set(("calibration", key), str(value) if key == "source" else value, f"{key}={value!r}")
    given = {"rules": rules, "exclude": exclude, "approximate": approximate, "combination": combination}
    return rewrite_draft(draft, Path(model), loaded, given, output=output, cache=cache, progress=progress, force=force)


def rewrite_draft(
    draft: Draft,
    model: Path,
    loaded: ir.Model,
    given: Mapping[str, Any],
    *,
    output: str | Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    force: bool = False,
) -> RewriteResult:
    """Rewrite by a draft; see :func:`rewrite`.

    Args:
        draft: of the recipe.
        model: a float ONNX file.
        loaded: what the file holds; changed.
        given: choices of the section ``rewrite`` that win over the recipe's; ``"auto"``, nothing and None do not.
        output: gets the rewritten file.
        cache: False makes stages run again.
        progress: called as ``progress(what, done, total)``.
        force: replace an output that n6convert did not write.
    """
    recipe = finish(draft)
    config, source = _config(recipe.rewrite, given), recipe.calibration.source
    if output is not None:
        inputs = [model, *([Path(source)] if isinstance(source, str) else [])]
        refuse_loss(Path(output), MODEL, inputs=inputs, force=force)
    tell = progress or (lambda what, done, total: None)
    graph, feeds = _read(draft, recipe, model, loaded, tell, cache=cache)
    target = target_of(recipe)
    refuse_large_inputs(graph, target.writable_bytes, recipe.target)
    tell("rewrite", 0, 1)
    result = rewrite_graph(graph, feeds, config, target=target, progress=within("rewrite", tell))
    result.model.producer_name = "n6convert"
    if output is not None:
        save(result.model, Path(output))
    tell("done", 1, 1)
    return result


def _config(recipe: RewriteConfig, given: Mapping[str, Any]) -> RewriteConfig:
    told = {key: value for key, value in given.items() if value is not None and value != "auto" and len(value)}
    chosen = {key: value if isinstance(value, str) else list(value) for key, value in told.items()}
    try:
        return RewriteConfig(**recipe.model_dump() | chosen)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            "a wrong option", place=f"--{first['loc'][0]}", limit=first["msg"], found=first["input"]
        ) from None


def _read(
    draft: Draft, recipe: Recipe, model: Path, loaded: ir.Model, progress: Progress, *, cache: bool
) -> tuple[ir.Model, Feeding | None]:
    """The float graph, and what makes samples by input name; None lets the proof draw random ones."""
    said = draft.values.get("calibration", {})
    source, count = recipe.calibration.source, recipe.calibration.samples if "samples" in said else _SAMPLES
    if recipe.options or (source is not None and Path(source).suffix != ".npz"):
        draft.set(("calibration", "samples"), count, "--samples")
        run = prepared_run(draft, ("export",), progress, cache=cache)
        feeds = None if source is None else lambda: run.sampling.first(count)
        if recipe.options:  # the file as a conversion with them reads it
            return run.artifacts["export"].load(), feeds
    refuse_unknown(loaded)
    graph = batch_of_one(upgrade_opset(loaded, model))
    refuse_sizes(graph)
    if source is None or Path(source).suffix != ".npz":
        return graph, None if source is None else feeds
    return graph, _arrays(graph, Path(source), count)


def _arrays(graph: ir.Model, source: Path, count: int) -> Feeding:
    inputs = tuple(
        TensorInfo(str(v.name), shape_of(v) or (), "float32" if v.dtype is None else v.dtype.numpy().name)
        for v in graph.graph.inputs
    )
    samples = open_samples(source, "arrays", ModelInfo(inputs, (), {}), limit=count)
    return lambda: (sample.data for sample in samples if isinstance(sample.data, Mapping))
