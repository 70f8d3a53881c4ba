"""``n6convert.debug``: where the error of an INT8 model comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.api.conversion import keyed, make_draft
from n6convert.api.quantizing import prepared_run, quantized

if TYPE_CHECKING:
    from n6convert.pipeline.run import Progress
    from n6convert.recipe.draft import Draft

__all__ = ["Diagnosis", "debug", "debug_draft"]


@dataclass(frozen=True)
class Diagnosis:
    """Where the error of an INT8 model comes from."""

    outputs_sqnr_db: dict[str, float]
    """Signal to quantization noise of each output of the graph."""
    worst: list[dict[str, Any]]
    """Tensors with most error first: ``name``, ``sqnr_db``, ``cause``, ``remedy``, what quantizing this tensor alone
    gives (``alone_db``) and what leaving it in float gains (``left_out_gain_db``)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as ``n6convert debug --json`` prints it."""
        return asdict(self)


def debug(
    model: str | Path,
    *,
    calibration: str | Path | Mapping[str, Any] | None = None,
    count: int = 10,
    target: str | None = None,
    settings: Mapping[str, Any] | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Diagnosis:
    """Rank tensors by quantization error: the worst alone and left out, with cause and remedy.

    Args:
        model: a registered model, a recipe, or a float ONNX file.
        calibration: folder or file of samples, or keys of the recipe's ``calibration`` section.
        count: tensors to look at.
        target: board and compiler version; None: the default one.
        settings: recipe keys by dotted path.
        cache: False makes every stage run again.
        progress: called as ``progress(what, done, total)``; total may be None.

    Raises:
        UsageError: unknown model or wrong setting.
        N6ConvertError: anything else that went wrong, with stage, place, limit and remedy.
    """
    draft = keyed(make_draft(model), calibration=calibration, settings=settings, target=target)
    return debug_draft(draft, count, cache=cache, progress=progress)


def debug_draft(draft: Draft, count: int, *, cache: bool = True, progress: Progress | None = None) -> Diagnosis:
    """Diagnose by a draft; see :func:`debug`.

    Args:
        draft: of the recipe.
        count: tensors to look at.
        cache: False makes every stage run again.
        progress: called as ``progress(what, done, total)``.
    """
    from n6convert.quantization.fidelity import Evaluator
    from n6convert.quantization.prepare.prepare import prepare
    from n6convert.quantization.sensitivity import leave_one_out, one_at_a_time

    run = prepared_run(draft, ("export", "simplify", "rewrite"), progress, cache=cache)
    result = quantized(run, "rewrite", explain=True)
    run.progress("measure tensors", 0, 1)
    evaluator = Evaluator(prepare(run.artifacts["rewrite"].load()), list(run.sampling.held_back()))
    records = [dict(record) for record in result.facts["worst"][:count]]
    names = [r["name"] for r in records]
    alone, left_out = one_at_a_time(result.model, evaluator, names), leave_one_out(result.model, evaluator, names)
    for record in records:
        record |= {"alone_db": alone[record["name"]], "left_out_gain_db": left_out[record["name"]]}
    run.progress("done", 1, 1)
    return Diagnosis(result.facts["outputs_sqnr_db"], records)
