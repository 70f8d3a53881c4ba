"""Rules that keep operators on the NPU, each proven equal on samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from n6convert.pipeline.artifact import Inputs, StageResult
from n6convert.pipeline.stages.base import Stage
from n6convert.plugin_errors import plugin_errors
from n6convert.rewrites.simplify import require_operators

if TYPE_CHECKING:
    from n6convert.operators.versions import Version
    from n6convert.pipeline.run import Run
    from n6convert.rewrites import RewriteResult

__all__ = ["Rewrite"]

_PROOF_SAMPLES = 2


class Rewrite(Stage):
    """Rewrites operators that would leave the NPU."""

    name = "rewrite"
    inputs = ("simplify",)
    modules = ("n6convert.rewrites.select", "n6convert.npu.estimation")

    def parameters(self, run: Run) -> Mapping[str, Any]:
        config = run.recipe.rewrite.model_dump(mode="json")
        return {"rewrite": config, "target": run.target_identity, "samples": run.sampling.key()}

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.operators.host import refuse_host_operators
        from n6convert.rewrites import rewrite

        with plugin_errors(run.entry, "rewrites"):
            extra = tuple(run.ready_plugin.rewrites())
        result = rewrite(
            inputs["simplify"].load(),
            lambda: run.sampling.first(_PROOF_SAMPLES),
            run.recipe.rewrite,
            target=run.target,
            extra=extra,
            progress=run.progress,
        )
        require_operators(result.model)
        _refuse_left(result, run.target.version)
        refuse_host_operators(result.model, run.target.version)
        return StageResult({"rewrites": result.facts()}, result.model)


def _refuse_left(result: RewriteResult, version: Version) -> None:
    """Raise for an operator that has no INT8 form, where the rule that would give it one says why it did not."""
    from n6convert.quantization.topology.roles import without_form

    reasons = {refused.place: refused.reason for refused in result.refused}
    for node in result.model.graph:
        error = without_form(node, version)
        if error is not None and node.name in reasons:
            error.found = f"{error.found}: {reasons[node.name]}"
            raise error
