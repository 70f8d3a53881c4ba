"""Equalization: even out the channels of a tensor, so that one int8 scale serves them all.

Channel c of every tensor of a group is divided by ``s_c`` and the layers around it absorb that: writers divide their
output channels, readers multiply their input channels (Cross-layer equalization through Relu, PRelu, depthwise and
residual sums; SmoothQuant through Linear layers; both exact in float). ``s_c`` is the geometric mean of what helps
the activation and what the readers' weights bear.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.numerics import Session, max_relative_difference
from n6convert.quantization.channels import Edge, Group, channel_groups
from n6convert.quantization.normalize import constant, set_constant
from n6convert.quantization.roles import is_constant
from n6convert.quantization.subgraph import with_outputs

__all__ = ["difference", "equalize", "scale_group"]

Sample = Mapping[str, NDArray[Any]]
_LARGEST = 32.0
_EXACT = 1e-3


def equalize(
    model: ir.Model, samples: Sequence[Sample], *, strength: float = 0.5, threads: int | None = None
) -> tuple[ir.Model, list[dict[str, Any]]]:
    """A copy of the model with even channels, and a record of every group that was scaled.

    Args:
        strength: 0 leaves activations alone, 1 gives every channel the same largest value.
    """
    model = model.clone()
    groups = channel_groups(model.graph)
    largest = _largest_by_channel(model, groups, samples, threads)
    records = []
    for group, peaks in zip(groups, largest, strict=True):
        factors = _factors(peaks, strength)
        if factors.max() > 1.05 * factors.min():
            scale_group(group, factors)
            first = next(iter(group.axis)).name
            records.append({"tensor": first, "channels": group.channels, "largest_factor": float(factors.max())})
    return model, records


def difference(model: ir.Model, other: ir.Model, sample: Sample, threads: int | None = None) -> float:
    """Largest output difference of two float models on a sample, relative to the output's range."""
    a, b = (Session(m, threads=threads) for m in (model, other))
    x, y = (s.run({n: sample[n] for n in s.inputs}) for s in (a, b))
    return max((max_relative_difference(x[n], y[n]) for n in x), default=0.0)


def _factors(peaks: NDArray[np.float64], strength: float) -> NDArray[np.float32]:
    """Channel factors with geometric mean near 1; silent channels keep their scale."""
    active = peaks[peaks > 0]
    if active.size == 0:
        return np.ones(peaks.shape, np.float32)
    ratio = np.where(peaks > 0, peaks, np.median(active)) / np.median(active)
    return np.clip(ratio**strength, 1 / _LARGEST, _LARGEST).astype(np.float32)


def _largest_by_channel(
    model: ir.Model, groups: Sequence[Group], samples: Sequence[Sample], threads: int | None
) -> list[NDArray[np.float64]]:
    """Largest absolute value of each channel over the tensors of each group."""
    names = sorted({v.name or "" for g in groups for v in g.axis})
    peaks = [np.zeros(g.channels) for g in groups]
    if not names:
        return peaks
    session = Session(with_outputs(model, names), threads=threads)
    for sample in samples:
        values = session.run({n: sample[n] for n in session.inputs})
        for group, peak in zip(groups, peaks, strict=True):
            for value, axis in group.axis.items():
                array = np.abs(values[value.name or ""])
                np.maximum(peak, array.max(axis=tuple(i for i in range(array.ndim) if i != axis)), out=peak)
    return peaks


def scale_group(group: Group, factors: NDArray[np.float32]) -> None:
    """Divide the channels of a group by the factors, in place, and let the layers around it absorb that."""
    for edge in group.writers:
        _scale_writer(edge.node, (1 / factors).astype(np.float32))
    for edge in group.readers:
        _scale_reader(edge, factors)


def _scale_writer(node: ir.Node, factors: NDArray[np.float32]) -> None:
    if node.op_type in ("Mul", "Add", "Gather"):
        for value in node.inputs[:1] if node.op_type == "Gather" else node.inputs:
            if value is not None and is_constant(value):
                _scale(value, factors, _axis_of(value, factors.size))
        return
    weight, bias = node.inputs[1], node.inputs[2]
    assert weight is not None and bias is not None
    if node.op_type == "ConvTranspose":
        _scale_transposed_outputs(node, weight, factors)
    else:
        by_row = node.op_type == "Conv" or node.attributes.get_int("transB", 0) == 1
        _scale(weight, factors, 0 if by_row else 1)
    _scale(bias, factors, 0)


def _scale_reader(edge: Edge, factors: NDArray[np.float32]) -> None:
    node = edge.node
    if node.op_type == "Mul":
        vector = next(v for v in node.inputs if v is not None and is_constant(v))
        _scale(vector, factors, _axis_of(vector, factors.size))
        return
    weight = node.inputs[1]
    assert weight is not None
    groups = node.attributes.get_int("group", 1)
    if node.op_type == "Gemm":
        _scale(weight, factors, 1 if node.attributes.get_int("transB", 0) else 0)
    elif node.op_type == "ConvTranspose" or groups == 1:
        _scale(weight, factors, 0 if node.op_type == "ConvTranspose" else 1)
    else:
        array = constant(weight)
        by_group = factors.reshape(groups, 1, -1, *[1] * (array.ndim - 2))
        shaped = array.reshape(groups, -1, *array.shape[1:]) * by_group
        set_constant(weight, shaped.reshape(array.shape))


def _scale_transposed_outputs(node: ir.Node, weight: ir.Value, factors: NDArray[np.float32]) -> None:
    groups, array = node.attributes.get_int("group", 1), constant(weight)
    by_group = factors.reshape(groups, 1, -1, *[1] * (array.ndim - 2))
    shaped = array.reshape(groups, -1, *array.shape[1:]) * by_group
    set_constant(weight, shaped.reshape(array.shape))


def _scale(value: ir.Value, factors: NDArray[np.float32], axis: int) -> None:
    array = constant(value)
    shape = [1] * array.ndim
    shape[axis] = -1
    set_constant(value, (array * factors.reshape(shape)).astype(np.float32))


def _axis_of(value: ir.Value, size: int) -> int:
    """The axis of a constant vector (or table) that holds the channels: the last of that size."""
    return max(i for i, d in enumerate(constant(value).shape) if d == size)
