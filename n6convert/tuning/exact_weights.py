"""The weights before they were rounded: where training starts, and what rounding them costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from n6convert.graph.operators import LAYERS
from n6convert.graph.patterns.layers import layers_by_name
from n6convert.tuning.fake_quantization import Steps
from n6convert.tuning.program import State

__all__ = ["exact_weights", "weights_before"]


def weights_before(model: ir.Model, prepared: ir.Model) -> dict[str, NDArray[Any]]:
    """The float model's weights and biases by the name of the dequantized one, where both models have the layer.

    Args:
        model: INT8.
        prepared: the float model it stands for.
    """
    layers = layers_by_name(prepared.graph)
    found = {}
    for node in model.graph:
        exact = layers.get(node.name or "") if node.op_type in LAYERS else None
        for index in (1, 2) if exact is not None else ():
            rounded, value = _operand(node, index), _operand(exact, index)
            if rounded is not None and value is not None and value.const_value is not None:
                found[rounded.name or ""] = value.const_value.numpy()
    return found


def exact_weights(model: ir.Model, prepared: ir.Model, state: State) -> dict[str, Any]:
    """The state with :func:`weights_before` in place of rounded ones: how close to float is that?

    What is left then is the activations' doing.

    Args:
        model: INT8.
        prepared: the float model it stands for.
        state: see :meth:`n6convert.tuning.parameters.Parameters.state`.
    """
    found = dict(state)
    for name, array in weights_before(model, prepared).items():
        steps = found.get(name)
        if isinstance(steps, Steps) and array.shape == steps.integers.shape:
            weight = torch.tensor(np.asarray(array, np.float32), device=steps.integers.device)
            found[name] = Steps(weight / steps.scale.detach(), steps.scale.detach())
    return found


def _operand(node: ir.Node | None, index: int) -> ir.Value | None:
    return node.inputs[index] if node is not None and len(node.inputs) > index else None
