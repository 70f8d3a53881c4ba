"""What a graph costs on the NPU, and how much of its time each convolution and dense layer takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from n6convert.npu.estimation import Estimate, estimate
from n6convert.npu.options import STOCK, CompilerOptions

if TYPE_CHECKING:
    import onnx_ir

    from n6convert.npu.targets import Target

__all__ = ["ModelCosts", "model_costs"]


class ModelCosts(NamedTuple):
    """What is predicted for a model.

    Attributes:
        milliseconds: of one inference.
        flash_bytes: of its parameters.
        layers: milliseconds by node name; layers that share an epoch share its time by the bytes of their weights.
    """

    milliseconds: float
    flash_bytes: int
    layers: Mapping[str, float]


def model_costs(model: onnx_ir.Model, target: str | Target, options: CompilerOptions = STOCK) -> ModelCosts:
    """What a model costs on a target.

    Args:
        model: a quantized model, or a float one that is placed as if its tensors were int8.
        target: board and compiler version.
        options: how the model is compiled.

    Raises:
        GraphError: the model is damaged or not static.
        RecipeError: unknown target.
    """
    found = estimate(model, target, options=options, assume_quantized=True)
    return ModelCosts(found.costs.latency.milliseconds, found.costs.memory.weights, _by_layer(found))


def _by_layer(found: Estimate) -> dict[str, float]:
    times = {epoch.id: (epoch.microseconds + epoch.overhead) / 1000 for epoch in found.costs.epochs}
    shares: dict[str, float] = defaultdict(float)
    for epoch in found.schedule.epochs:
        layers = [op for op in epoch.ops if op.conv is not None and len(op.inputs) > 1]
        sizes = [found.lowered.tensors[op.inputs[1]].nbytes for op in layers]
        for op, size in zip(layers, sizes, strict=True):
            for name in op.sources:
                shares[name] += times[epoch.id] * size / max(sum(sizes), 1)
    return dict(shares)
