"""Predicted placement, memory and time of the converted graph, and placement of the graph without rewrites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from n6convert.errors import N6ConvertError
from n6convert.pipeline.artifact import Artifact, Inputs, StageResult
from n6convert.pipeline.stages.base import Stage

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run

__all__ = ["Estimate"]

_RANGE_SAMPLES = 2


class Estimate(Stage):
    """Predicts placement, memory and time of the INT8 graph."""

    name = "estimate"
    inputs = ("simplify", "rewrite", "quantize")
    early_inputs = ("simplify",)

    def parameters(self, run: Run) -> Mapping[str, Any]:
        return {"target": run.target_identity, "samples": run.sampling.key(), **run.compiled_as}

    def early(self, run: Run, inputs: Inputs) -> Any:
        return _without_rewrites(run, inputs["simplify"])

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.npu import estimate
        from n6convert.npu.options import of_recipe

        options = of_recipe(run.recipe)
        facts = dict(estimate(inputs["quantize"].load(), run.recipe.target, options=options).facts())
        after = facts.pop("placement")
        facts["placement"] = {"before": after, "after": after}
        if inputs["rewrite"].identity != inputs["simplify"].identity:
            before, why = run.early(self.name) or self.early(run, inputs)
            facts["placement"]["before"] = before
            facts["warnings"] = [*facts.get("warnings", []), *why]
        return StageResult(facts)


def _without_rewrites(run: Run, simplified: Artifact) -> tuple[dict[str, Any] | None, list[str]]:
    """Placement of the unrewritten graph, quantized by min-max of a few samples: placement depends on operators."""
    from n6convert.npu import estimate
    from n6convert.npu.options import of_recipe
    from n6convert.quantization.quantizer import quantize
    from n6convert.recipe.quantization import QuantizationConfig

    plain = QuantizationConfig(ranges="minmax", normalize_attention=False, **QuantizationConfig.off())
    try:
        model = quantize(simplified.load(), lambda: run.sampling.first(_RANGE_SAMPLES), plain, explain=False).model
        facts = estimate(model, run.recipe.target, options=of_recipe(run.recipe)).facts()
    except N6ConvertError as error:
        return None, [f"placement without rewrites could not be predicted: {error.problem}"]
    return facts["placement"] | {"latency": facts.get("latency")}, []
