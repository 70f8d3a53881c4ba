"""``n6convert.quantize``: a float model file as INT8 QDQ, without rewrites and package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.api.conversion import keyed, make_draft
from n6convert.graph.io import save
from n6convert.quantization.ranges.file import save_ranges as write_ranges
from n6convert.recipe.checking import finish
from n6convert.store.cache import Cache
from n6convert.store.outputs import MODEL, RANGES, refuse_loss
from n6convert.types import Progress, within

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run
    from n6convert.quantization.quantizer import QuantizationResult
    from n6convert.recipe.draft import Draft

__all__ = ["prepared_run", "quantize", "quantize_draft", "quantized"]


def quantize(
    model: str | Path,
    *,
    calibration: str | Path | Mapping[str, Any] | None = None,
    output: str | Path | None = None,
    target: str | None = None,
    settings: Mapping[str, Any] | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    force: bool = False,
) -> QuantizationResult:
    """Quantize a float model to INT8 (QDQ): no operator stays in float.

    Args:
        model: a float ONNX file, or a registered model's name.
        calibration: folder or file of samples, or keys of the recipe's ``calibration`` section.
        output: where the INT8 file is written; None: nowhere, it is in the result's ``model``.
        target: board and compiler version; None: the default one.
        settings: recipe keys by dotted path: ``{"quantization.ranges": "mse"}``.
        cache: False exports the model again.
        progress: called as ``progress(what, done, total)``; total may be None.
        force: replace an output that n6convert did not write.

    Returns:
        the graph, its ranges, and the facts of the report: methods tried, closeness, worst tensors, warnings.

    Raises:
        UsageError: unknown model, wrong setting, or the output is the input.
        QuantizationError: an operator has no INT8 form; ranges or samples are unusable.
        N6ConvertError: anything else that went wrong, with stage, place, limit and remedy.
    """
    draft = keyed(make_draft(model), calibration=calibration, settings=settings, target=target)
    inputs = [Path(model), *([Path(calibration)] if isinstance(calibration, str | Path) else [])]
    return quantize_draft(draft, inputs, output=output, cache=cache, progress=progress, force=force)


def quantize_draft(
    draft: Draft,
    inputs: Sequence[Path] = (),
    *,
    output: str | Path | None = None,
    ranges: Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    force: bool = False,
) -> QuantizationResult:
    """Quantize by a draft; see :func:`quantize`.

    Args:
        draft: of the recipe.
        inputs: files that are read and must not be replaced.
        output: gets the INT8 file.
        ranges: gets the ranges that were found; may be the file that they came from.
        cache: False exports the model again.
        progress: called as ``progress(what, done, total)``.
        force: replace files that n6convert did not write.
    """
    if output is not None:
        refuse_loss(Path(output), MODEL, inputs=inputs, force=force)
    if ranges is not None:
        refuse_loss(ranges, RANGES, inputs=[path for path in inputs if path != ranges], force=force)
    run = prepared_run(draft, ("export",), progress, cache=cache)
    result = quantized(run, "export")
    if output is not None:
        save(result.model, Path(output))
    if ranges is not None:
        write_ranges(result.ranges, ranges)
    run.progress("done", 1, 1)
    return result


def prepared_run(draft: Draft, stages: Sequence[str], progress: Progress | None = None, *, cache: bool = True) -> Run:
    """The pipeline's state after the named stages, from the cache where they ran before.

    Args:
        draft: of the recipe.
        stages: names of those that run, in the pipeline's order.
        progress: called as ``progress(what, done, total)``.
        cache: False makes every stage run again.
    """
    from n6convert.pipeline.run import Run
    from n6convert.pipeline.runner import STAGES, run_stages

    run = Run(finish(draft), draft, Cache(reuse=cache), progress or (lambda what, done, total: None))
    run_stages(run, [s for s in STAGES if s.name in stages])
    return run


def quantized(run: Run, source: str, *, explain: bool | None = None) -> QuantizationResult:
    """The INT8 model of a stage's graph, by the run's recipe; told as a stage of its own.

    Args:
        run: with that stage's result.
        source: name of the stage.
        explain: measure the error of each tensor; see :func:`~n6convert.quantization.quantize`.
    """
    from n6convert.pipeline.stages.accepting import Accepting
    from n6convert.pipeline.stages.quantize import goals_of, predictors
    from n6convert.quantization.quantizer import quantize as quantize_graph

    model = run.artifacts[source].load()
    accepting = Accepting(run, model)
    run.progress("quantize", 0, 1)
    return quantize_graph(
        model,
        run.sampling.calibration,
        run.recipe.quantization,
        held_back=run.sampling.held_back,
        **predictors(run.target),
        accepted=accepting if accepting.limited else None,
        goals=goals_of(run, accepting),
        explain=explain,
        seed=run.recipe.seed,
        progress=within("quantize", run.progress),
    )
