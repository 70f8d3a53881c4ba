"""How much of the predicted time each convolution and dense layer of a graph takes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from n6convert.npu.estimation import estimate

if TYPE_CHECKING:
    import onnx_ir

    from n6convert.npu.targets import Target

__all__ = ["layer_milliseconds"]


def layer_milliseconds(model: onnx_ir.Model, target: str | Target) -> dict[str, float]:
    """Milliseconds by node name; layers that share an epoch share its time by the bytes of their weights.

    Args:
        model: a quantized model, or a float one that is placed as if its tensors were int8.
        target: board and compiler version.

    Raises:
        GraphError: the model is damaged or not static.
        RecipeError: unknown target.
    """
    found = estimate(model, target, assume_quantized=True)
    times = {epoch.id: (epoch.microseconds + epoch.overhead) / 1000 for epoch in found.costs.epochs}
    shares: dict[str, float] = defaultdict(float)
    for epoch in found.schedule.epochs:
        layers = [op for op in epoch.ops if op.conv is not None and len(op.inputs) > 1]
        sizes = [found.lowered.tensors[op.inputs[1]].nbytes for op in layers]
        for op, size in zip(layers, sizes, strict=True):
            for name in op.sources:
                shares[name] += times[epoch.id] * size / max(sum(sizes), 1)
    return dict(shares)
