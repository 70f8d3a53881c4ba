"""The weights before they were rounded: where training starts, and what rounding them costs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
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


def weights_before(model: ir.Model, prepared: ir.Model, operands: Collection[int] = (1,)) -> dict[str, NDArray[Any]]:
    """The float model's weights by the name of the dequantized one, where both models have the layer.

    Args:
        model: INT8.
        prepared: the float model it stands for.
        operands: of layers: 1 are weights, 2 biases.
    """
    layers = layers_by_name(prepared.graph)
    found = {}
    for node in model.graph:
        exact = layers.get(node.name or "") if node.op_type in LAYERS else None
        for index in operands if exact is not None else ():
            rounded, value = _operand(node, index), _operand(exact, index)
            if rounded is not None and value is not None and value.const_value is not None:
                found[rounded.name or ""] = value.const_value.numpy()
    return found


def exact_weights(model: ir.Model, prepared: ir.Model, state: State) -> Iterator[dict[str, Any]]:
    """The state with :func:`weights_before` in place of rounded ones, with the biases it has and with those of float.

    What is left then is the activations' doing. Corrected biases make up for rounded activations and for rounded
    weights alike: with eight bits float biases would miss the former, with four bits corrected ones the latter, so
    exact weights bring what the closer of the two does.

    Args:
        model: INT8.
        prepared: the float model it stands for.
        state: see :meth:`n6convert.tuning.parameters.Parameters.state`.
    """
    for operands in ((1,), (1, 2)):
        found = dict(state)
        for name, array in weights_before(model, prepared, operands).items():
            steps = found.get(name)
            if isinstance(steps, Steps) and array.shape == steps.integers.shape:
                weight = torch.tensor(np.asarray(array, np.float32), device=steps.integers.device)
                found[name] = Steps(weight / steps.scale.detach(), steps.scale.detach())
        yield found


def _operand(node: ir.Node | None, index: int) -> ir.Value | None:
    return node.inputs[index] if node is not None and len(node.inputs) > index else None
