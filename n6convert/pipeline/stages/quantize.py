"""Find ranges on the calibration samples and write the INT8 QDQ graph."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.pipeline.artifact import Inputs, StageResult
from n6convert.pipeline.stages.accepting import Accepting
from n6convert.pipeline.stages.base import Stage
from n6convert.pipeline.stages.evaluate import check_measurable_samples
from n6convert.pipeline.stages.lint import reject_collapsed_outputs
from n6convert.store.cache import sha256_of
from n6convert.store.inputs import is_file

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.npu.targets import Target
    from n6convert.pipeline.run import Run
    from n6convert.quantization.quantizer import QuantizationResult
    from n6convert.quantization.weights.mixed_precision import Goals
    from n6convert.recipe.quantization import QuantizationConfig
    from n6convert.types import Progress

__all__ = ["FLOAT_FILE", "Quantize", "goals_of", "predictors"]

#: the float model that the INT8 one stands for, tensor by tensor, where tuning needs it
FLOAT_FILE = "float.onnx"


class Quantize(Stage):
    """Turns the rewritten graph into INT8 QDQ."""

    name = "quantize"
    inputs = ("rewrite",)
    modules = ("n6convert.quantization.quantizer",)

    def parameters(self, run: Run) -> Mapping[str, Any]:
        config = _config(run)
        choices = config.model_dump(mode="json")
        if config.ranges_file and is_file(Path(config.ranges_file)):
            choices["ranges_file"] = sha256_of(Path(config.ranges_file))
        parts = {"quantization": choices, "samples": run.sampling.key(), "seed": run.recipe.seed}
        if run.recipe.tune.enabled:
            parts["keeps"] = FLOAT_FILE
        return parts | {"target": run.target_identity} | _acceptance(run)

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.quantization.quantizer import quantize

        check_measurable_samples(run)
        model = inputs["rewrite"].load()
        accepting = Accepting(run, model)
        result = quantize(
            model,
            run.sampling.calibration,
            _config(run),
            held_back=run.sampling.held_back,
            **predictors(run.target),
            accepted=_Accepted(run.recipe.target, accepting),
            goals=goals_of(run, accepting),
            seed=run.recipe.seed,
            progress=_counted(run),
        )
        found = dict(result.facts)
        samples = run.sampling.facts()
        if accepting.used:
            samples["accepting"] = [{"id": i, "sha256": h} for i, h in accepting.used.items()]
        found["skipped"] = sorted(_skipped(run))
        warnings = [*samples.pop("warnings"), *found.pop("warnings", [])]
        facts = {"quantization": found, "samples": samples, "warnings": warnings}
        return StageResult(facts, result.model, _float_model(run, result) if run.recipe.tune.enabled else {})


def _float_model(run: Run, result: QuantizationResult) -> dict[str, Path]:
    from n6convert.graph.io import save

    assert result.prepared is not None
    save(result.prepared, run.workspace / FLOAT_FILE)
    return {path.name: path for path in run.workspace.glob(f"{FLOAT_FILE}*")}


def _counted(run: Run) -> Progress:
    """The run's progress; calibration, which draws from an open end, is told how many samples there are."""
    count = run.sampling.count("calibration")

    def tell(what: str, done: int, total: int | None) -> None:
        run.progress(what, done, count if what == "calibration" and total is None and done <= count else total)

    return tell


def goals_of(run: Run, limits: Accepting) -> Goals:
    """What four-bit weights must reach, by the recipe's acceptance."""
    from n6convert.npu.layer_times import model_costs
    from n6convert.npu.options import of_recipe
    from n6convert.quantization.weights.mixed_precision import Goals

    section, options = run.recipe.acceptance, of_recipe(run.recipe)
    return Goals(
        section.max_milliseconds,
        section.max_flash,
        partial(model_costs, target=run.recipe.target, options=options),
        keeps=None if section.min_sqnr_db is None else limits.keeps_sqnr,
        judged=None if section.max_drop is None else limits.judged,
        max_drop=section.max_drop or 0.0,
    )


def predictors(target: Target) -> dict[str, Any]:
    """What the quantizer may ask about the NPU: its version, cycles that zero points save, and the time of a graph."""
    from n6convert.npu.zero_points import zero_point_cycles
    from n6convert.rewrites.by_latency import predicted_milliseconds

    return {
        "cheap_zero_points": partial(zero_point_cycles, target=target),
        "milliseconds": predicted_milliseconds(target),
        "version": target.version,
    }


class _Accepted:
    """The recipe's limits, asked before each method; before the first also whether the model can be saved at all."""

    def __init__(self, target: str, limits: Accepting) -> None:
        self._target, self._limits = target, limits
        self._asked = False

    def __call__(self, model: ir.Model, sqnr_db: Mapping[str, float]) -> bool:
        if not self._asked:
            reject_collapsed_outputs(model, self._target)
            self._asked = True
        return self._limits.limited and self._limits(model, sqnr_db)


def _acceptance(run: Run) -> dict[str, Any]:
    """What decides when enough methods were tried."""
    limits, evaluation = run.recipe.acceptance, run.recipe.evaluation
    found: dict[str, Any] = {"min_sqnr_db": limits.min_sqnr_db, "max_drop": limits.max_drop}
    if run.recipe.quantization.weights == "mixed":
        found |= {"max_milliseconds": limits.max_milliseconds, "max_flash": limits.max_flash} | run.compiled_as
    if limits.max_drop is not None and evaluation.source is not None:
        from n6convert.samples import fingerprint_samples

        found["labelled"] = fingerprint_samples(evaluation.source, limit=evaluation.samples)
    return found


def _config(run: Run) -> QuantizationConfig:
    config = run.recipe.quantization
    return config.model_copy(update={name: config.off()[name] for name in _skipped(run)})


def _skipped(run: Run) -> set[str]:
    """Keys of accuracy methods that are left out unless the recipe says that it wants them.

    For untrained weights, whose answers mean nothing, and for a file that was quantized before and keeps its grids.
    """
    wanted = run.weights.trained and not run.recipe.options.get("dequantize", False)
    config = run.recipe.quantization
    return set() if wanted else {name for name in config.off() if config.asks(name)} - config.model_fields_set
