"""Train the INT8 model's numbers until its outputs are closer to the float model's; off by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from n6convert.errors import GraphError
from n6convert.pipeline.artifact import Artifact, Inputs, StageResult
from n6convert.pipeline.stages.base import Stage
from n6convert.pipeline.stages.quantize import FLOAT_FILE
from n6convert.plugin_errors import plugin_errors
from n6convert.store.cache import key_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.pipeline.run import Run
    from n6convert.tuning.samples import Example
    from n6convert.tuning.training import TaskLoss

__all__ = ["Tune"]


class Tune(Stage):
    """Its result stands in place of the quantizer's for all stages that follow."""

    name = "tune"
    inputs = ("quantize",)
    improves = "quantize"

    def wanted(self, run: Run) -> bool:
        return run.recipe.tune.enabled

    def parameters(self, run: Run) -> Mapping[str, Any]:
        parts = {"tune": run.recipe.tune.model_dump(mode="json"), "samples": run.sampling.key()}
        return parts | {"seed": run.recipe.seed, "torch": _torch_version(), "target": run.target_identity}

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        import onnx_ir as ir

        from n6convert.tuning import tune

        quantized = inputs["quantize"]
        model = quantized.load()
        key = key_of({"inputs": quantized.identity, "parameters": self.parameters(run), "code": run.code})
        checkpoint = run.cache.checkpoint(key)
        result = tune(
            model, ir.load(quantized.entry.folder / FLOAT_FILE), lambda epoch: _examples(run, epoch),
            list(run.sampling.held_back()), run.recipe.tune, task=_task(run), seed=run.recipe.seed,
            checkpoint=checkpoint, identity={"key": key}, threads=run.recipe.quantization.threads,
            progress=run.progress,
        )  # fmt: skip
        facts = dict(result.facts)
        if facts["kept"]:
            facts["placement"] = _same_placement(run, model, result.model)
        checkpoint.unlink(missing_ok=True)
        warnings = facts.pop("warnings")
        samples = quantized.facts["samples"]
        section = _rescaled(quantized, result.model)
        return StageResult(
            {"tuning": facts, "samples": samples, "quantization": section, "warnings": warnings}, result.model
        )


def _torch_version() -> str | None:
    try:
        return version("torch")
    except PackageNotFoundError:
        return None


def _examples(run: Run, epoch: int) -> Iterator[Example]:
    """The calibration samples; from epoch 0 on varied by the plugin, each epoch anew."""
    import numpy as np

    from n6convert.tuning import Example

    vary = run.recipe.tune.augment and epoch >= 0
    for index, sample in enumerate(run.sampling.samples("calibration")):
        if vary:
            with plugin_errors(run.entry, f"augment of sample {sample.id}"):
                sample = run.ready_plugin.augment(sample, np.random.default_rng((run.recipe.seed, epoch, index)))
        yield Example(run.encode(sample), sample)


def _task(run: Run) -> TaskLoss | None:
    """The plugin's training loss, for samples that have labels."""
    if run.recipe.tune.task_weight == 0:
        return None

    def loss(outputs: Mapping[str, Any], sample: Any) -> Any:
        if sample.label is None:
            return None
        with plugin_errors(run.entry, f"training_loss on sample {sample.id}"):
            return run.ready_plugin.training_loss(outputs, sample)

    return loss


def _same_placement(run: Run, before: ir.Model, after: ir.Model) -> dict[str, Any]:
    """Epochs of the tuned model; raises GraphError where they are not those of the INT8 model before."""
    from n6convert.npu import estimate
    from n6convert.npu.options import of_recipe

    options = of_recipe(run.recipe)
    first, second = (
        estimate(m, run.recipe.target, options=options).facts()["placement"]["epochs"] for m in (before, after)
    )
    if first != second:
        raise GraphError("tuning changed where operators run", limit=first, found=second,
                         remedy="convert without tuning, and report this network")  # fmt: skip
    return dict(second)


def _rescaled(quantized: Artifact, model: ir.Model) -> dict[str, Any]:
    """The quantizer's facts with the scales that the tuned model has."""
    section = dict(quantized.facts["quantization"])
    scales = {
        name.removesuffix("_scale"): float(value.const_value.numpy().item())
        for name, value in model.graph.initializers.items()
        if name.endswith("_scale") and value.const_value is not None and value.const_value.size == 1
    }
    tensors = section.get("tensors", [])
    section["tensors"] = [t | {"scale": scales.get(t["name"], t["scale"])} for t in tensors]
    return section
