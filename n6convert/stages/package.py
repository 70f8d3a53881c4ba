"""The files that the user takes away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from n6convert.stages.base import Inputs, Stage, StageResult

if TYPE_CHECKING:
    from n6convert.run import Run

__all__ = ["Package"]


class Package(Stage):
    name = "package"
    inputs = ("quantize", "evaluate")

    def parameters(self, run: Run) -> Mapping[str, Any]:
        return {"package": run.recipe.package.model_dump(mode="json"), "name": run.name}

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        quantized = inputs["quantize"]
        name = model_file(run)
        files = {name: quantized.model_path}
        data = quantized.model_path.with_name(f"{quantized.model_path.name}.data")
        if data.exists():
            files[data.name] = data
        evaluated = inputs["evaluate"].entry
        files |= {picture: evaluated.folder / picture for picture in evaluated.files}
        return StageResult({"model": name}, files=dict(files))


def model_file(run: Run) -> str:
    """File name of the INT8 model in the package."""
    return f"{run.name}_int8.onnx"
