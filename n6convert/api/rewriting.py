"""``n6convert.rewrite``: a float model's operators kept on the NPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
from pydantic import ValidationError

from n6convert.api.conversion import make_draft
from n6convert.api.quantizing import prepared_run
from n6convert.errors import UsageError
from n6convert.graph.io import load, save
from n6convert.graph.opset import upgrade_opset
from n6convert.graph.query import shape_of
from n6convert.graph.refusals import refuse_large_inputs, refuse_sizes, refuse_unknown
from n6convert.npu.targets import DEFAULT_TARGET, load_target
from n6convert.plugin import ModelInfo, TensorInfo
from n6convert.recipe.project import default_target
from n6convert.rewrites import RewriteConfig, RewriteResult
from n6convert.rewrites import rewrite as rewrite_graph
from n6convert.rewrites.prepare import batch_of_one
from n6convert.samples import open_samples
from n6convert.store.outputs import MODEL, refuse_loss

__all__ = ["rewrite"]

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
    target: str | None = None,
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
        target: board and compiler version that time is predicted for; None: the default one.
        force: replace an output that n6convert did not write.

    Returns:
        the graph, what was applied, refused and gained, and the largest difference of the outputs.

    Raises:
        UsageError: an unknown rule or combination, or the output is the input.
        GraphError: the file is no valid model, or too large for the board's memories.
        RewriteError: a rule changed what the model computes.
    """
    path, board = Path(model), target or default_target() or DEFAULT_TARGET
    config = _config(rules, exclude, approximate, combination)
    if output is not None:
        inputs = [path, *([Path(calibration)] if calibration else [])]
        refuse_loss(Path(output), MODEL, inputs=inputs, force=force)
    given = load(path)
    refuse_unknown(given)
    graph = batch_of_one(upgrade_opset(given, path))
    refuse_sizes(graph)
    refuse_large_inputs(graph, sum(pool.size for pool in load_target(board).pools if pool.writable), board)
    result = rewrite_graph(graph, _feeds(graph, path, calibration), config, target=board)
    result.model.producer_name = "n6convert"
    if output is not None:
        save(result.model, Path(output))
    return result


def _config(
    rules: str | Sequence[str], exclude: Sequence[str], approximate: Sequence[str], combination: str | None
) -> RewriteConfig:
    given: Any = {"rules": rules, "exclude": exclude, "approximate": approximate}
    chosen = {key: value if isinstance(value, str) else list(value) for key, value in given.items()}
    try:
        return RewriteConfig(**chosen, combination=combination)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(
            "a wrong option", place=f"--{first['loc'][0]}", limit=first["msg"], found=first["input"]
        ) from None


def _feeds(graph: ir.Model, model: Path, source: str | Path | None) -> Callable[[], Iterable[Mapping[str, Any]]] | None:
    """Samples by input name; None lets the proof draw random ones."""
    if source is None:
        return None
    if Path(source).suffix != ".npz":
        return _sampled(model, str(source))
    inputs = tuple(
        TensorInfo(str(v.name), shape_of(v) or (), "float32" if v.dtype is None else v.dtype.numpy().name)
        for v in graph.graph.inputs
    )
    samples = open_samples(Path(source), "arrays", ModelInfo(inputs, (), {}), limit=_SAMPLES)
    return lambda: (sample.data for sample in samples if isinstance(sample.data, Mapping))


def _sampled(model: Path, source: str) -> Callable[[], Iterable[Mapping[str, Any]]]:
    """The first samples, encoded as a conversion of the file would."""
    draft = make_draft(str(model))
    draft.set(("calibration", "source"), source, "--calibration")
    draft.set(("calibration", "samples"), _SAMPLES, "--samples")
    run = prepared_run(draft, ("export",))
    return lambda: run.sampling.first(_SAMPLES)
