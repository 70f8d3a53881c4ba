"""Build the float model and refuse what cannot be converted: dynamic shapes, other types, NaN."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.errors import GraphError, PluginError
from n6convert.graph.interface import interface_of
from n6convert.pipeline.artifact import Inputs, StageResult
from n6convert.pipeline.stages.base import Stage
from n6convert.plugin_errors import plugin_errors

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.pipeline.run import Run
    from n6convert.plugin import Feeds

__all__ = ["GIVEN", "Export"]


#: the quantized model that was given, where the float one was made from it
GIVEN = "given.onnx"


class Export(Stage):
    """Lets the plugin build its float graph and checks it."""

    name = "export"

    def parameters(self, run: Run) -> Mapping[str, Any]:
        weights = run.weights
        identity = run.recipe.seed if weights.kind == "seeded" else weights.sha256
        made_from = {"model": run.recipe.model, "options": run.recipe.options, "weights": [weights.kind, identity]}
        return made_from | {"room": run.target.writable_bytes}

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.graph.refusals import refuse_large_inputs
        from n6convert.plugin import BuildRequest

        plugin = run.plugin
        with plugin_errors(run.entry, "build"):
            built = plugin.build(BuildRequest(run.weights, run.recipe.seed, run.workspace, run.progress))
            model = _named_outputs(built.model)
        model.metadata_props.update(built.metadata)
        _check_batch(model)
        refuse_large_inputs(model, run.target.writable_bytes, run.recipe.target)
        _check_initializers(model)
        run.settle(interface_of(model))
        for feeds in run.sampling.first(1):
            _check_finite(model, feeds)
        given = {} if built.given is None else {GIVEN: _bytes(built.given, run)}
        return StageResult(_facts(model), model, files=given)


def _bytes(model: ir.Model, run: Run) -> Path:
    from n6convert.graph.io import save

    path = run.workspace / GIVEN
    save(model, path)
    return path


def _named_outputs(model: ir.Model) -> ir.Model:
    if not model.graph.outputs:
        raise PluginError("the built model has no outputs")
    return model


def _check_batch(model: ir.Model) -> None:
    info = interface_of(model)
    for tensor in info.inputs:
        if tensor.shape and tensor.shape[0] != 1:
            raise GraphError(
                "the model takes more than one sample at a time",
                place=tensor.name,
                limit="batch 1",
                found=f"shape {list(tensor.shape)}",
                remedy="export the model with batch 1",
            )


def _check_initializers(model: ir.Model) -> None:
    import numpy as np

    for value in model.graph.initializers.values():
        if value.const_value is None or not value.const_value.dtype.is_floating_point():
            continue
        array = value.const_value.numpy()
        if np.isnan(array).any():
            raise GraphError(
                "a weight holds NaN",
                place=value.name,
                found=f"{int(np.isnan(array).sum())} of {array.size} values",
                remedy="the checkpoint is damaged or its training diverged: use another one",
            )


def _check_finite(model: ir.Model, feeds: Feeds) -> None:
    from n6convert.runtime.session import run_model

    for name, array in run_model(model, feeds).items():
        if not _finite(array):
            node, tensor = _first_bad_node(model, feeds)
            raise GraphError(
                "the float model computes NaN or infinity on a calibration sample",
                place=f"output {name}",
                found=f"first in tensor {tensor} of node {node}",
                remedy="check the weights, and that samples are scaled as the model was trained",
            )


def _first_bad_node(model: ir.Model, feeds: Feeds) -> tuple[str, str]:
    """The first node, in graph order, one of whose outputs is not finite."""
    from n6convert.pipeline.stages.probes import exposing
    from n6convert.runtime.session import Session

    names = [out.name for node in model.graph for out in node.outputs if out.name]
    values = Session(exposing(model, names), names, optimize=False).run(feeds)
    for node in model.graph:
        for out in node.outputs:
            if out.name in values and not _finite(values[out.name]):
                return f"{node.name or out.name} ({node.op_type})", out.name
    return "unknown", "unknown"


def _finite(array: Any) -> bool:
    import numpy as np

    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _facts(model: ir.Model) -> dict[str, Any]:
    info = interface_of(model)
    sizes = [v.const_value.size for v in model.graph.initializers.values() if v.const_value is not None]
    return {
        "nodes": len(model.graph),
        "parameters": int(sum(sizes)),
        "opset": model.opset_imports.get("", 0),
        "inputs": [{"name": t.name, "shape": list(t.shape), "type": t.dtype} for t in info.inputs],
        "outputs": [{"name": t.name, "shape": list(t.shape), "type": t.dtype} for t in info.outputs],
        "warnings": [note] if (note := info.metadata.get("note")) else [],
    }
