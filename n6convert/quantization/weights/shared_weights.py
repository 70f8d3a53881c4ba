"""Weights that several layers read, as the steps of a recurrent cell do: rounded together and stored once.

The quantizer works on one copy a layer. Layers whose float weights are one tensor get the integers that suit the
inputs of all of them, and at the end one initializer holds them: in flash they are one ([#depthwise-weights]).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.operators import LAYERS
from n6convert.quantization.layerwise.rounding import Moments, layer_moments, round_layer
from n6convert.quantization.layerwise.walk import Layer, layers_of, walk_layers
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.time_budget import TimeBudget

__all__ = ["round_together", "store_once", "together"]


def together(float_model: ir.Model) -> list[list[str]]:
    """Names of the layers that read the same weights, for all weights that more than one layer reads."""
    groups: dict[int, list[str]] = defaultdict(list)
    for node in float_model.graph:
        weight = node.inputs[1] if node.op_type in LAYERS else None
        if weight is not None and weight.const_value is not None:
            groups[id(weight.const_value)].append(node.name or "")
    return [names for names in groups.values() if len(names) > 1]


def round_together(
    model: ir.Model,
    weights: Mapping[str, ir.Value | None],
    groups: Iterable[list[str]],
    samples: Iterable[Mapping[str, NDArray[Any]]],
    threads: int | None = None,
    budget: TimeBudget | None = None,
) -> None:
    """Round the weights of each group on the inputs of all its layers, in place.

    Args:
        model: INT8; changed.
        weights: of each layer, by node name.
        groups: names of layers with one weight.
        samples: arrays by input name.
        threads: None: as many as there are cores.
        budget: ends the work.

    Raises:
        BudgetExceeded: the budget ended; some groups may be rounded, others not.
    """
    owner = {name: names[0] for names in groups for name in names}
    layers: dict[str, list[Layer]] = defaultdict(list)
    moments: dict[str, Moments] = {}
    for layer in walk_layers(model, samples, threads, budget):
        first = owner.get(layer.name)
        found = None if first is None else layer_moments(layer, constant(weights[layer.name]))
        if first is None or found is None:
            continue
        layers[first].append(layer)
        moments[first] = [a + b for a, b in zip(moments[first], found, strict=True)] if first in moments else found
    for first, members in layers.items():
        if all(_equal(members[0], other, 1, 1) for other in members):
            round_layer(members[0], constant(weights[first]), budget, moments[first])
            for other in members[1:]:
                other.initializer(1).const_value = members[0].initializer(1).const_value


def store_once(model: ir.Model, groups: Collection[list[str]]) -> ir.Model:
    """A copy of an INT8 model in which the layers of a group read one initializer, where their integers are equal.

    Without groups the model itself.
    """
    if not groups:
        return model
    model = model.clone()
    layers = {layer.name: layer for layer in layers_of(model)}
    for names in groups:
        first, *others = (layers[name] for name in names if name in layers)
        for other in others:
            for index in (1, 2):
                if all(_equal(first, other, index, part) for part in (0, 1)):
                    _read(first, other, index)
    return model


def _equal(a: Layer, b: Layer, index: int, part: int) -> bool:
    x, y = (layer.initializer(index, part).const_value for layer in (a, b))
    return x is not None and y is not None and np.array_equal(x.numpy(), y.numpy())


def _read(source: Layer, layer: Layer, index: int) -> None:
    """Let a layer's operand come from the initializers of another one's."""
    dequantize = layer.node.inputs[index].producer()  # type: ignore[union-attr]
    assert dequantize is not None
    for part in range(3):
        old = layer.initializer(index, part)
        dequantize.replace_input_with(part, source.initializer(index, part))
        if not old.uses():
            layer.model.graph.initializers.pop(old.name or "", None)
