"""What a cheap zero point would save, tensor by tensor, asked before the model is quantized."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from n6convert.npu.cycles import conv_plan
from n6convert.npu.estimation import estimate
from n6convert.npu.ir import Where

if TYPE_CHECKING:
    import onnx_ir

    from n6convert.npu.targets import Target

__all__ = ["zero_point_cycles"]

_COPIES = ("Identity", "Transpose")


def zero_point_cycles(model: onnx_ir.Model, target: str | Target) -> dict[str, float]:
    """NPU cycles that each convolution input saves with zero point -128 or 0 against any other ([#zero-points]).

    An epoch is as slow as its slowest resource, so only what computing exceeds its memory traffic counts
    ([#max-cycles]).

    Args:
        model: float model; placed as if all its tensors were int8.
        target: board and compiler version.

    Raises:
        GraphError: the model is damaged or not static.
        RecipeError: unknown target.
    """
    found = estimate(model, target, assume_quantized=True)
    fast_cycles = {epoch.id: epoch.max_cycles for epoch in found.costs.epochs}
    copied = {op.outputs[0]: op.inputs[0] for op in found.lowered.ops if not op.sources and op.kind in _COPIES}
    saved: dict[str, float] = defaultdict(float)
    for epoch in found.schedule.epochs:
        for op in epoch.ops:
            if epoch.kind is Where.HW and op.conv is not None and op.units.conv:
                slow = conv_plan(op.conv, False, found.target.version).cycles
                source = op.inputs[0]
                saved[copied.get(source, source)] += max(0.0, slow - fast_cycles[epoch.id])
    return {name: cycles for name, cycles in saved.items() if cycles}
