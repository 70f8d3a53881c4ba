"""Bias correction without data (Nagel et al. 2019): what rounding the weights shifts, told by BatchNormalization.

A layer's outputs shift by ``(W_rounded - W) E[x]``. ``E[x]`` is known where x is computed from normalized channels:
such a channel is taken as normal with mean ``beta`` and deviation ``|gamma|``; functions of one normal channel (Relu,
Clip, SiLU, ...) are integrated numerically, sums, means and linear layers pass expectations on. Unlike the correction
on samples it knows nothing of rounded activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import QuantizationError
from n6convert.graph.extract import cut
from n6convert.graph.query import is_constant
from n6convert.quantization.layerwise.bias_correction import shift_bias
from n6convert.quantization.layerwise.walk import Layer, layers_of
from n6convert.quantization.prepare.batch_norm import statistics
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.runtime.session import Session

__all__ = ["Vector", "correct_analytically", "expectations", "lost_by_weights"]

Vector = NDArray[np.float64]
_FUNCTIONS = frozenset(
    {"Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Softplus"}
    | {"Erf", "Gelu", "Mish", "Abs", "Neg", "Mul", "Add", "Sub", "Min", "Max", "Div"}
)
_MEANS = frozenset({"AveragePool", "GlobalAveragePool", "Flatten", "Identity", "Resize", "Dropout"})


@dataclass(frozen=True)
class Known:
    """A tensor's channels.

    Attributes:
        values: ``[channels, points]``: the value of each channel where its source takes its k-th point, or the
            expectation alone in one column.
        source: the normalized tensor it is a function of; None for an expectation.
    """

    values: Vector
    source: ir.Value | None = None

    @property
    def mean(self) -> Vector:
        """Expectation of each channel."""
        return self.values @ _normal()[1] if self.source is not None else self.values[:, 0]


@cache
def _normal() -> tuple[Vector, Vector]:
    """Points of a normal variable at which functions are integrated, and the share of each."""
    points, weights = np.polynomial.hermite_e.hermegauss(32)
    return points, weights / weights.sum()


def correct_analytically(float_model: ir.Model, model: ir.Model) -> ir.Model:
    """A copy of the INT8 model whose biases undo what rounding its weights shifts.

    Raises:
        QuantizationError: the float model has no BatchNormalization from which any layer's input follows.
    """
    model = model.clone()
    known = expectations(float_model)
    floats = {n.name: n for n in float_model.graph}
    corrected = 0
    for layer in layers_of(model):
        node = floats[layer.name]
        source = known.get(node.inputs[0]) if node.inputs[0] is not None else None
        if source is not None:
            shift_bias(layer, lost_by_weights(node, layer, source.mean))
            corrected += 1
    if not corrected:
        raise QuantizationError(
            "bias correction without data needs BatchNormalization statistics, and this model has none left",
            place="quantization.bias_correction", limit="BatchNormalization operators behind convolutions",
            found="none that leads to a layer; exporters and the simplify stage fold them away",
            remedy="set it to `sequential`, or give an ONNX file with its BatchNormalizations to `n6convert quantize`",
        )  # fmt: skip
    return model


def lost_by_weights(node: ir.Node, layer: Layer, mean: Vector) -> Vector:
    """What a layer's rounded weights take away from the mean of each output.

    Args:
        node: the layer in float.
        layer: INT8.
        mean: of each channel that it reads.
    """
    return _through(node, constant(node.inputs[1]).astype(np.float64) - layer.weight(), mean)


def expectations(model: ir.Model) -> dict[ir.Value, Known]:
    """What is known of the activations of a prepared float model."""
    normal = statistics(model.graph)
    known: dict[ir.Value, Known] = {}
    for node in model.graph:
        output = node.outputs[0]
        if output.name in normal:
            mean, deviation = normal[output.name]
            known[output] = Known(mean[:, None] + deviation[:, None] * _normal()[0], output)
            continue
        found = _expected(model, node, known)
        if found is not None:
            known[output] = found
    return known


def _expected(model: ir.Model, node: ir.Node, known: Mapping[ir.Value, Known]) -> Known | None:
    inputs = [v for v in node.inputs if v is not None and not is_constant(v)]
    if not inputs or any(v not in known for v in inputs):
        return None
    sources = {known[v].source for v in inputs}
    if node.op_type in _FUNCTIONS and len(sources) == 1 and None not in sources:
        return _function(model, node, known)
    means = [known[v].mean for v in inputs]
    if node.op_type == "Add" and len({m.size for m in means}) == 1 and len(means) == 2:
        return Known((means[0] + means[1])[:, None])
    if node.op_type == "Concat" and node.attributes.get_int("axis") == 1:
        return Known(np.concatenate(means)[:, None])
    if node.op_type in ("Conv", "Gemm") and is_constant(node.inputs[1]):
        return Known((_through(node, constant(node.inputs[1]), means[0]) + constant(node.inputs[2]))[:, None])
    keeps = node.outputs[0].shape is not None and len(node.outputs[0].shape) > 1
    channels = node.outputs[0].shape[1] if keeps and node.outputs[0].shape is not None else None
    if (node.op_type in _MEANS or node.op_type == "Reshape") and channels == means[0].size:
        return Known(means[0][:, None])
    return None


def _function(model: ir.Model, node: ir.Node, known: Mapping[ir.Value, Known]) -> Known | None:
    """The node's results on the points of its inputs; None where its constants are no numbers per channel."""
    active = list(dict.fromkeys(v for v in node.inputs if v is not None and not is_constant(v)))
    rank = len(active[0].shape or ())
    first = known[active[0]]
    part = cut(model, [node], active, node.outputs[:1])
    for value in (*part.graph.inputs, *part.graph.outputs):
        value.shape = None
    shape = (1, first.values.shape[0], *[1] * (rank - 3), first.values.shape[1])
    feeds = {v.name or "": known[v].values.astype(np.float32).reshape(shape) for v in active}
    if rank < 3 or any(known[v].values.shape != first.values.shape for v in active):
        return None
    result = Session(part, threads=1).run(feeds)[node.outputs[0].name or ""]
    return Known(result.reshape(first.values.shape).astype(np.float64), first.source) if result.shape == shape else None


def _through(node: ir.Node, weight: NDArray[Any], mean: Vector) -> Vector:
    """What a layer with this weight makes of its input's expectation, far from the borders."""
    if node.op_type == "Gemm":
        rows: Vector = weight if node.attributes.get_int("transB", 0) else weight.T
        return rows @ mean
    groups = node.attributes.get_int("group", 1)
    taps = weight.sum(axis=tuple(range(2, weight.ndim)))
    if node.op_type == "ConvTranspose":  # every output meets all taps of a stride's phase; on average a share of them
        by_group = taps.reshape(groups, -1, taps.shape[1]) * mean.reshape(groups, -1, 1)
        spread: Vector = by_group.sum(axis=1).reshape(-1) / np.prod(node.attributes.get_ints("strides", [1, 1]))
        return spread
    by_group = taps.reshape(groups, -1, taps.shape[1])
    gathered: Vector = np.einsum("goi,gi->go", by_group, mean.reshape(groups, -1)).reshape(-1)
    return gathered
