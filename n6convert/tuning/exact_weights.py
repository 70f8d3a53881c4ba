"""How close to float an INT8 model would be if its weights were not rounded: what is left is the activations' doing."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
import torch

from n6convert.graph.operators import LAYERS
from n6convert.graph.patterns.layers import layers_by_name
from n6convert.tuning.fake_quantization import Steps
from n6convert.tuning.program import State

__all__ = ["exact_weights"]


def exact_weights(model: ir.Model, prepared: ir.Model, state: State) -> dict[str, Any]:
    """The state with the float model's weights and biases in place of rounded ones, where both models have the layer.

    Args:
        model: INT8.
        prepared: the float model it stands for.
        state: see :meth:`n6convert.tuning.parameters.Parameters.state`.
    """
    layers = layers_by_name(prepared.graph)
    found = dict(state)
    for node in model.graph:
        exact = layers.get(node.name or "") if node.op_type in LAYERS else None
        for index in (1, 2) if exact is not None else ():
            _replace(found, node, exact, index)
    return found


def _replace(found: dict[str, Any], node: ir.Node, exact: ir.Node | None, index: int) -> None:
    rounded, value = _operand(node, index), _operand(exact, index)
    steps = found.get(rounded.name or "") if rounded is not None else None
    if not isinstance(steps, Steps) or value is None or value.const_value is None:
        return
    weight = torch.tensor(value.const_value.numpy(), dtype=torch.float32, device=steps.integers.device)
    if weight.shape == steps.integers.shape:
        found[rounded.name or ""] = Steps(weight / steps.scale.detach(), steps.scale.detach())  # type: ignore[union-attr]


def _operand(node: ir.Node | None, index: int) -> ir.Value | None:
    return node.inputs[index] if node is not None and len(node.inputs) > index else None
