"""Find ranges on the calibration samples and write the INT8 QDQ graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from n6convert.stages.base import Inputs, Stage, StageResult
from n6convert.stages.evaluate import refuse_unjudgeable_samples

if TYPE_CHECKING:
    from n6convert.run import Run

__all__ = ["Quantize"]


class Quantize(Stage):
    name = "quantize"
    inputs = ("rewrite",)

    def parameters(self, run: Run) -> Mapping[str, Any]:
        config = run.recipe.quantization.model_dump(mode="json")
        return {"quantization": config, "samples": run.sampling.key(), "seed": run.recipe.seed}

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.quantization.quantizer import quantize

        refuse_unjudgeable_samples(run)
        result = quantize(
            inputs["rewrite"].load(), run.sampling.calibration, run.recipe.quantization,
            held_back=run.sampling.held_back, seed=run.recipe.seed, progress=run.progress,
        )
        found = dict(result.facts)
        samples = run.sampling.facts()
        warnings = [*samples.pop("warnings"), *found.pop("warnings", [])]
        return StageResult({"quantization": found, "samples": samples, "warnings": warnings}, result.model)
