"""Fold constants and remove what does nothing, then prove that nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from n6convert.pipeline.artifact import Inputs, StageResult
from n6convert.pipeline.stages.base import Stage

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run

__all__ = ["Simplify"]

_PROOF_SAMPLES = 2


class Simplify(Stage):
    """Folds constants and drops what computes nothing."""

    name = "simplify"
    inputs = ("export",)
    modules = ("onnxscript.rewriter.rules.common", "n6convert.linter.normalize")

    def parameters(self, run: Run) -> Mapping[str, Any]:
        return run.recipe.simplify.model_dump(mode="json")

    def begin(self, run: Run) -> None:
        from n6convert.rewrites.simplify import Onnxsim

        if run.recipe.simplify.onnxsim and Onnxsim.installed():
            run.begun[self.name] = run.ending.enter_context(closing(Onnxsim()))

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.rewrites.simplify import simplify

        result = simplify(
            inputs["export"].load(), lambda: run.sampling.first(_PROOF_SAMPLES), run.recipe.simplify, run.progress,
            run.waiting, run.begun.pop(self.name, None),
        )  # fmt: skip
        return StageResult(result.facts, result.model)
