"""What ST Edge AI would refuse or silently run in float, with the remedy; an error stops the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from n6convert.errors import LintError
from n6convert.pipeline.artifact import Inputs, StageResult
from n6convert.pipeline.stages.base import Stage
from n6convert.plugin_errors import plugin_errors

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.linter import Finding
    from n6convert.pipeline.run import Run

__all__ = ["Lint", "reject_collapsed_outputs"]

_MEASURED_SAMPLES = 2
_SHOWN = 5


class Lint(Stage):
    """Checks the INT8 graph against what ST Edge AI takes."""

    name = "lint"
    inputs = ("quantize",)

    def parameters(self, run: Run) -> Mapping[str, Any]:
        types = (run.recipe.package.input_type, run.recipe.compiler.input_channels)
        return {"target": run.target_identity, "samples": run.sampling.key(), "input": types}

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.linter import Severity, lint

        model = inputs["quantize"].load()
        findings = lint(model, run.recipe.target, run.sampling.first(_MEASURED_SAMPLES)) + _camera(run, model)
        errors = [f for f in findings if f.severity is Severity.ERROR]
        if errors:
            raise _refusal(errors)
        notes = [f"lint: {f}" for f in findings if f.severity is Severity.WARNING]
        warnings = notes[:_SHOWN] + ([f"lint: {len(notes) - _SHOWN} more warnings"] if len(notes) > _SHOWN else [])
        return StageResult({"findings": [f.as_dict() for f in findings], "warnings": warnings})


def _camera(run: Run, model: ir.Model) -> list[Finding]:
    """What a camera leaves to the CPU for this model; nothing for models of anything but pictures."""
    from n6convert.package.camera import probe_camera
    from n6convert.package.ports import read_ports

    with plugin_errors(run.entry, "encode"):
        ports = [port.compiled_as(run.recipe.package.input_type) for port in read_ports(model)[0]]
        camera = probe_camera(run.ready_plugin, ports)
    return camera.findings() if camera else []


def reject_collapsed_outputs(model: ir.Model, target: str) -> None:
    """Refuse an INT8 model, quantized by ranges alone, for what no accuracy method can change.

    Raises:
        LintError: an operator, a shape or a type that ST does not take, or an output that joins values of which some
            keep next to no levels.
    """
    from n6convert.linter import hopeless

    if errors := hopeless(model, target):
        raise _refusal(errors)


def _refusal(errors: list[Finding]) -> LintError:
    first = errors[0]
    others = "".join(f"\n  and {e}" for e in errors[1:_SHOWN])
    more = f"\n  and {len(errors) - _SHOWN} more" if len(errors) > _SHOWN else ""
    return LintError(
        f"ST Edge AI would not accept the converted model: {first.rule}{others}{more}",
        place=first.node or first.tensor or "model",
        limit=first.limit,
        found=first.found,
        remedy=first.remedy,
    )
