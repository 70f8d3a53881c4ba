"""The folder that the user takes away: model, compile command, profiles, C, self-test, pictures and model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.pipeline.artifact import Inputs, StageResult
from n6convert.pipeline.stages.base import Stage
from n6convert.plugin_errors import plugin_errors

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.npu.targets import Target
    from n6convert.package import PackageRequest
    from n6convert.package.tolerance import Tolerance
    from n6convert.pipeline.run import Run
    from n6convert.types import Feeds, Outputs

__all__ = ["Package"]


class Package(Stage):
    """Writes the folder that the firmware is built from."""

    name = "package"
    inputs = ("export", "simplify", "rewrite", "quantize", "lint", "estimate", "evaluate")
    early_inputs = ("quantize",)
    modules = ("n6convert.package.write",)

    def parameters(self, run: Run) -> Mapping[str, Any]:
        from n6convert.pipeline.manifest import portable_recipe

        known = {"name": run.name, "samples": run.sampling.key(), "pools": run.pools_identity}
        return {"recipe": portable_recipe(run.recipe), "targets": [t.identity for t in _targets(run)]} | known

    def early(self, run: Run, inputs: Inputs) -> Any:
        return _selftest(run, inputs["quantize"].load())

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.package import flash_tables, write_package

        model = f"{run.name}_int8.onnx"
        with plugin_errors(run.entry, "firmware or artifacts"):
            artifacts = {name: bytes(content) for name, content in run.ready_plugin.artifacts().items()}
            contents = write_package(run.workspace, _request(run, inputs, model, artifacts))
        written = {p.relative_to(run.workspace).as_posix(): p for p in run.workspace.rglob("*") if p.is_file()}
        evaluated = inputs["evaluate"].entry
        pictures = {name: evaluated.folder / name for name in evaluated.files}
        files: dict[str, bytes | Path] = {**written, **pictures, **_model_files(inputs, model)}
        facts = {"model": model, "contents": contents, "flash_tables": flash_tables(artifacts)}
        return StageResult(facts, files=files)


def _request(run: Run, inputs: Inputs, model_file: str, artifacts: Mapping[str, bytes]) -> PackageRequest:
    from n6convert.package import PackageRequest
    from n6convert.pipeline.reporting import make_report

    model = inputs["quantize"].load()
    sample, feeds, expected, tolerances = run.early(Package.name) or _selftest(run, model)
    return PackageRequest(
        model=model,
        model_file=model_file,
        name=run.recipe.package.name or run.base_name,
        types=(run.recipe.package.input_type, run.recipe.package.output_type),
        plugin=run.ready_plugin,
        targets=_targets(run),
        feeds=feeds,
        expected=expected,
        tolerances=tolerances,
        sample=sample,
        report=make_report(run, {}),
        artifacts=artifacts,
    )


def _selftest(run: Run, model: ir.Model) -> tuple[str, Feeds, Outputs, list[Tolerance]]:
    """A sample's name, what the model reads of it and gives for it, and how far a board may lie from that."""
    from n6convert.package.ports import read_ports
    from n6convert.package.tolerance import rounding_tolerances
    from n6convert.runtime.session import run_model

    sample = next(run.sampling.judging())
    feeds = run.encode(sample)
    expected = run_model(model, feeds)
    return sample.id, feeds, expected, rounding_tolerances(model, read_ports(model)[1], feeds, expected)


def _targets(run: Run) -> list[Target]:
    """The recipe's target first, then the other boards it asks profiles for, with the same compiler."""
    from n6convert.npu.targets import load_target

    main = run.target
    compiler = main.compiler
    others = [profile for profile in run.recipe.package.profiles if profile != main.board]
    profiles = (load_target(f"{other}@{compiler}") for other in others)
    return [main, *(target.with_epoch_controller(main.epoch_controller) for target in profiles)]


def _model_files(inputs: Inputs, model: str) -> dict[str, Path]:
    """The model, and its weights where they lie in a file of their own under the name the model refers to."""
    path = inputs["quantize"].model_path
    beside = path.with_name(f"{path.name}.data")
    return {model: path} | ({beside.name: beside} if beside.exists() else {})
