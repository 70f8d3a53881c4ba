"""Four-bit weights with 8-bit activations (W4A8): which layers, their codes, and how a file holds them.

While layers are chosen and refined their codes stand in int8, within ``-8..7``, so that everything that walks or runs
an INT8 model works on them; :func:`written` turns them into ``INT4`` initializers at the end (opset 21, IR 10).
The NPU multiplies them as fast as 8-bit weights and reads half the bytes from flash [#four-bit-weights].
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.copying import copied
from n6convert.graph.operators import LAYERS
from n6convert.quantization.grid.affine import NARROW
from n6convert.quantization.grid.plan import along
from n6convert.quantization.layerwise.bias_correction import shift_bias
from n6convert.quantization.layerwise.narrow_rounding import narrow_rows
from n6convert.quantization.layerwise.rounding import LastMoments, as_rows, from_rows
from n6convert.quantization.layerwise.walk import Layer, layers_at_once, layers_of, walk_layers
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.time_budget import TimeBudget
from n6convert.quantization.weights.shared_weights import together
from n6convert.types import Progress

__all__ = [
    "Narrow",
    "best_scales",
    "eligible",
    "in_their_opset",
    "narrow_layers",
    "put",
    "replaced",
    "saved_bytes",
    "written",
    "written_with",
]

_OPSET, _IR_VERSION = 21, 10
#: shares of the largest weight that the largest code may stand for: four bits often gain by clipping
_SHARES = np.linspace(1.0, 0.4, 25)
#: rows of one layer's inputs that its codes are first chosen on; those that are kept see more, and settle
_ROWS = 2048
#: layers with fewer weights save nothing that can be seen
_LEAST_WEIGHTS = 1024


@dataclass(frozen=True)
class Narrow:
    """A layer's weights in four bits.

    Attributes:
        codes: int8 ``-8..7``, the weight's own shape.
        scales: float32, one per output channel.
        shift: what its bias gains, one number for each output; None: nothing.
    """

    layer: str
    codes: NDArray[np.int8]
    scales: NDArray[np.float32]
    shift: NDArray[np.float64] | None = None

    @property
    def saved(self) -> int:
        """Bytes of flash saved."""
        return self.codes.size - (self.codes.size + 1) // 2


def eligible(model: ir.Model) -> dict[str, ir.Node]:
    """Layers of a float model whose weights can be narrowed, by name: Conv, ConvTranspose and Gemm of some size."""
    found = {}
    shared = {name for names in together(model) for name in names}
    for node in model.graph:
        if node.name in shared:
            continue
        weight = node.inputs[1] if node.op_type in LAYERS and len(node.inputs) > 1 else None
        if weight is not None and weight.const_value is not None and weight.const_value.size >= _LEAST_WEIGHTS:
            found[node.name or ""] = node
    return found


def narrow_layers(
    float_model: ir.Model,
    model: ir.Model,
    samples: Iterable[Mapping[str, NDArray[Any]]],
    threads: int | None = None,
    budget: TimeBudget | None = None,
    progress: Progress | None = None,
) -> list[Narrow]:
    """Four-bit weights of every eligible layer, each on the inputs that the INT8 model gives it.

    Good enough to say which layers to take: those are rounded anew, on more.

    Args:
        model: the INT8 model; not changed.
        samples: on whose inputs errors are made to cancel (second-order rounding).

    Raises:
        BudgetExceeded: the budget ended.
    """
    budget, nodes, last = budget or TimeBudget(), eligible(float_model), LastMoments(_ROWS)
    found: list[Narrow] = []
    at_once = layers_at_once(model, samples, threads, budget)
    for layer in at_once or walk_layers(model.clone(), samples, threads, budget):
        if layer.name in nodes:
            found.append(_narrow(layer, constant(nodes[layer.name].inputs[1]), budget, last))
            if progress is not None:
                progress("four-bit weights", len(found), len(nodes))
    return found


def _narrow(layer: Layer, weight: NDArray[np.float32], budget: TimeBudget, last: LastMoments) -> Narrow:
    axis = _axis(layer)
    rows = as_rows(layer.node, weight)
    if rows is None:  # transposed convolutions: each weight by itself
        scales = best_scales(np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1))
        return Narrow(layer.name, _nearest(weight / along(scales, weight.ndim, axis)), scales)
    scales = best_scales(rows)
    found = narrow_rows(layer, rows, scales, budget, last.statistics(layer, rows.shape[1]), settles=False)
    return Narrow(layer.name, from_rows(layer.node, found.codes, weight.shape), scales, found.shift)


def best_scales(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """One scale per row with the least squared error among clipped ones; ``rows`` is ``[channels, weights]``."""
    least, largest = rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0)
    whole = np.maximum(least / NARROW[0], largest / NARROW[1])
    best = np.maximum(whole, 1e-15).astype(np.float32)
    best[whole == 0] = 1.0
    plain, error = best.copy(), np.full(len(rows), np.inf)
    for share in _SHARES:
        scales = (plain * share).astype(np.float32)
        gaps = rows - _nearest(rows / scales[:, None]) * scales[:, None]
        found = np.einsum("ij,ij->i", gaps, gaps)
        best, error = np.where(found < error, scales, best), np.minimum(found, error)
    result: NDArray[np.float32] = best.astype(np.float32)
    return result


def replaced(model: ir.Model, layers: Iterable[Narrow]) -> ir.Model:
    """A copy of the INT8 model with these layers' codes and scales; biases keep their values on the new scales."""
    return _replace(model.clone(), layers)


def _replace(model: ir.Model, layers: Iterable[Narrow]) -> ir.Model:
    wanted = {narrow.layer: narrow for narrow in layers}
    for layer in layers_of(model):
        if layer.name in wanted:
            put(layer, wanted[layer.name])
    return model


def put(layer: Layer, narrow: Narrow) -> None:
    """Give a layer of an INT8 model its four-bit codes and scales; its bias keeps its values."""
    codes, scale = layer.initializer(1), layer.initializer(1, 1)
    bias, bias_scale = layer.initializer(2), layer.initializer(2, 1)
    assert scale.const_value is not None and bias.const_value is not None and bias_scale.const_value is not None
    ratio = narrow.scales.astype(np.float64) / scale.const_value.numpy()
    old = bias_scale.const_value.numpy()
    steps = old * np.tile(ratio, old.size // ratio.size)
    numbers = np.rint(bias.const_value.numpy() * (old / steps)).astype(np.int32)
    for value, array in (
        (codes, narrow.codes), (scale, narrow.scales), (bias, numbers), (bias_scale, steps.astype(np.float32)),
    ):  # fmt: skip
        value.const_value = ir.Tensor(array, name=value.name)
    if narrow.shift is not None:
        shift_bias(layer, narrow.shift)


def written(model: ir.Model, layers: Collection[str]) -> ir.Model:
    """A copy whose layers of these names hold ``INT4`` initializers: opset 21, IR version 10.

    Raises:
        GraphError: the graph has no form of opset 21.
    """
    if not layers:
        return model
    return _write(in_their_opset(model).clone(), layers)


def written_with(model: ir.Model, layers: Collection[Narrow]) -> ir.Model:
    """:func:`written` of a model with these layers in it, as a quick copy without notes.

    Args:
        model: INT8, :func:`in_their_opset`.
        layers: their four-bit weights.
    """
    return _write(_replace(copied(model), layers), {n.layer for n in layers}) if layers else model


def _write(model: ir.Model, layers: Collection[str]) -> ir.Model:
    model.ir_version = _IR_VERSION
    for layer in layers_of(model):
        if layer.name in layers:
            for part, value in ((0, layer.initializer(1)), (2, layer.initializer(1, 2))):
                assert value.const_value is not None, part
                array = value.const_value.numpy().astype(ml_dtypes.int4)
                value.const_value = ir.Tensor(array, dtype=ir.DataType.INT4, name=value.name)
                value.dtype = ir.DataType.INT4
    return model


def in_their_opset(model: ir.Model) -> ir.Model:
    """The model in the opset that knows four-bit codes; itself where it is in that already.

    Raises:
        GraphError: the graph has no form of opset 21.
    """
    from n6convert.graph.opset import convert_opset

    return convert_opset(model, _OPSET)


def saved_bytes(layers: Iterable[Narrow]) -> int:
    """Bytes of flash that they save together."""
    return sum(narrow.saved for narrow in layers)


def _axis(layer: Layer) -> int:
    dequantize = layer.node.inputs[1].producer()  # type: ignore[union-attr]
    assert dequantize is not None
    return dequantize.attributes.get_int("axis", 0)


def _nearest(values: NDArray[Any]) -> NDArray[np.int8]:
    codes: NDArray[np.int8] = np.clip(np.rint(values), *NARROW).astype(np.int8)
    return codes
