"""Weights that take back what the layers before them did to a layer's inputs.

A layer of an INT8 model gets inputs ``Q`` where the float model has ``F``. Their difference is no mere noise: weights
in front that were rounded coarsely turn and scale the inputs, alike in every sample. So the weights ``W`` become
``W'`` with the least ``|F W^T - Q W'^T|^2``, by ridge regression towards ``W``, before they are rounded. Where the
result is added to a tensor that is there already, as at the end of a residual block, that tensor's error is taken back
as well: no layer lies on its way that could. Half of the samples say how much of what the other half found is true of
all: by so much the weights move.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import with_outputs
from n6convert.graph.patterns.layers import layers_by_name
from n6convert.quantization.layerwise.rounding import (
    SINGLE,
    Moments,
    as_rows,
    patches,
    results,
    rows_per_sample,
    spans_of,
)
from n6convert.quantization.layerwise.walk import Layer
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.time_budget import TimeBudget
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped

__all__ = ["FloatInputs", "FloatSample", "compensated"]


@dataclass(frozen=True)
class FloatSample:
    """A layer in the float model, at some places of one sample.

    Attributes:
        inputs: what its weights multiply, ``[groups, places, inputs]``.
        joined: what is added to its results, ``[groups, places, outputs]``; None: nothing that is known before.
    """

    inputs: NDArray[np.float32]
    joined: NDArray[np.float32] | None


#: bytes of float inputs that are held at once
_HELD = 256 << 20
#: noise on every input, relative to the mean one's energy
_RIDGE = 0.01
#: of a step of a weight's grid: what a change is rounded to, so that last bits of sums do not count
_UNIT = 1 / 64


class FloatInputs:
    """What layers get in the float model, for some layers at a time: memory does not grow with their number.

    Args:
        model: float.
        samples: read anew for every such portion of layers.
        names: layers in the order in which they will be asked for.
        budget: ends the reading.

    Raises:
        BudgetExceeded: from :meth:`of`, when the budget ended.
    """

    def __init__(
        self,
        model: ir.Model,
        samples: Iterable[Mapping[str, NDArray[Any]]],
        names: Iterable[str],
        threads: int | None = None,
        budget: TimeBudget | None = None,
    ) -> None:
        self._model, self._samples, self._threads, self._clock = model, samples, threads, budget or TimeBudget()
        nodes = layers_by_name(model.graph)
        self._left = [nodes[name] for name in names if name in nodes]
        self._held: dict[str, list[FloatSample]] = {}

    def of(self, layer: Layer) -> Sequence[FloatSample] | None:
        """One array a sample; None for layers that were not named, or whose weights are no rows."""
        if all(node.name != layer.name for node in self._left) and layer.name not in self._held:
            return None
        if layer.name not in self._held:
            self._load(layer.name, layer.samples)
        return self._held.get(layer.name)

    def _load(self, first: str, samples: int) -> None:
        """Compute the inputs of this layer and of as many that follow as fit in memory."""
        while self._left[0].name != first:
            self._left.pop(0)
        chosen, room = [self._left.pop(0)], _HELD
        room -= _bytes(chosen[0], samples)
        while self._left and (room := room - _bytes(self._left[0], samples)) >= 0:
            chosen.append(self._left.pop(0))
        chosen = [node for node in chosen if _sizes(node)[0]]
        self._held = {node.name or "": [] for node in chosen}
        if not chosen:
            return
        for found in mapped(self._reader(chosen, samples), self._clock.watch(self._samples), self._threads):
            for name, rows in found.items():
                self._held[name].append(rows)

    def _reader(self, nodes: Sequence[ir.Node], samples: int) -> Any:
        entries = {v.name for v in self._model.graph.inputs}
        wanted = {node: (_name(node.inputs[0]), _name(_joined(node))) for node in nodes}
        inner = [name for pair in wanted.values() for name in pair if name and name not in entries]
        session = Session(with_outputs(self._model, list(dict.fromkeys(inner))), threads=1) if inner else None

        def read(sample: Mapping[str, NDArray[Any]]) -> dict[str, FloatSample]:
            values = dict(sample)
            if session is not None:
                values |= session.run_on(sample)
            return {
                n.name or "": _seen(n, values[x], values[y] if y else None, samples) for n, (x, y) in wanted.items()
            }

        return read


def _name(value: ir.Value | None) -> str:
    return (value.name or "") if value is not None else ""


def _joined(node: ir.Node) -> ir.Value | None:
    """The other operand of the sum that alone reads a layer of the float model."""
    readers = list(node.outputs[0].uses())
    if len(readers) != 1 or readers[0].node.op_type != "Add":
        return None
    other = readers[0].node.inputs[1 - readers[0].idx]
    same = other is not None and other.const_value is None and other.shape == node.outputs[0].shape
    return other if same and other is not node.outputs[0] else None


def _bytes(node: ir.Node, samples: int) -> int:
    """Memory that the node's float inputs take."""
    shape = [d for d in node.outputs[0].shape or () if isinstance(d, int)]
    size, groups = _sizes(node)
    return 4 * samples * min(rows_per_sample(samples), prod(shape[2:] or shape[:1])) * size * groups


def _sizes(node: ir.Node) -> tuple[int, int]:
    """Inputs of one group, and groups."""
    rows = as_rows(node, constant(node.inputs[1]))
    return 0 if rows is None else rows.shape[1], node.attributes.get_int("group", 1)


def _seen(node: ir.Node, values: NDArray[Any], joined: NDArray[Any] | None, samples: int) -> FloatSample:
    size, groups = _sizes(node)
    share = rows_per_sample(samples)
    other = None if joined is None else results(node, joined, groups, share).astype(np.float32)
    return FloatSample(patches(node, values, 0.0, size, groups, share).astype(np.float32), other)


def compensated(
    layer: Layer, weight: NDArray[np.float32], exact: Sequence[FloatSample]
) -> tuple[NDArray[np.float32], tuple[Moments, Moments]]:
    """A layer's float weights, moved so that its INT8 inputs give what the float inputs gave.

    Args:
        weight: what its weights are in float, of a layer for which :func:`as_rows` has rows.
        exact: from :class:`FloatInputs`.

    Returns:
        The weights, and the second moments of the INT8 inputs of the even samples and of the odd ones.
    """
    rows, scale = as_rows(layer.node, weight), layer.initializer(1, 1).const_value
    assert rows is not None and scale is not None
    groups = layer.node.attributes.get_int("group", 1)
    by_group = rows.astype(np.float64).reshape(groups, -1, rows.shape[1])
    unit = scale.numpy().astype(np.float64).reshape(groups, -1, 1) * _UNIT
    moved, moments = by_group.copy(), []
    spans = spans_of(rows.shape[1])
    for span in spans:
        inner, pull = _sums(layer, exact, by_group[:, :, span], span, joined=len(spans) == 1)
        moved[:, :, span] += np.rint(_change(inner, pull) / unit) * unit
        moments.append(inner)
    shaped = moved.reshape(rows.shape).astype(np.float32)
    even, odd = ([moment[half, group] for group in range(groups) for moment in moments] for half in (0, 1))
    return _as_weight(layer.node, shaped, weight.shape), (even, odd)


def _sums(
    layer: Layer, exact: Sequence[FloatSample], rows: NDArray[np.float64], span: slice, joined: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``Q^T Q``, and what is missing in the result times ``Q``, of the even samples and of the odd ones.

    Args:
        rows: the weights of these inputs ``[groups, outputs, inputs]``.
        span: the inputs.
        joined: whether what is added to the result counts.
    """
    groups, outputs, width = rows.shape
    inner, pull = np.zeros((2, groups, width, width)), np.zeros((2, groups, outputs, width))
    scale = layer.initializer(0, 1).const_value
    assert scale is not None
    step, zero, share = np.float32(scale.numpy()), np.float32(layer.zero_point), rows_per_sample(layer.samples)
    single = rows.astype(np.float32)
    size = exact[0].inputs.shape[2]
    others = _missing(layer, exact) if joined else None
    for index, (codes, wanted) in enumerate(zip(layer.codes(), exact, strict=True)):
        found = patches(layer.node, codes, float(zero), size, groups, share)[:, :, span].astype(np.float32) - zero
        gaps = (wanted.inputs[:, :, span] / step - found).transpose(0, 2, 1)
        wide = found if found.shape[1] <= SINGLE else found.astype(np.float64)
        inner[index % 2] += wide.transpose(0, 2, 1) @ wide
        # the order with fewer multiplications: outputs may be few beside inputs
        pull[index % 2] += (single @ gaps) @ found if 2 * outputs < width else single @ (gaps @ found)
        if others is not None:
            pull[index % 2] += next(others).astype(np.float32).transpose(0, 2, 1) @ found / step
    return inner, pull


def _missing(layer: Layer, exact: Sequence[FloatSample]) -> Iterator[NDArray[np.float64]] | None:
    """What lacks in each sample in what is added to the layer's result; None where that is not known."""
    quantize = next((n for n in layer.node.outputs[0].consumers() if n.op_type == "QuantizeLinear"), None)
    readers = [n for d in (quantize.outputs[0].consumers() if quantize else ()) for n in d.outputs[0].consumers()]
    if exact[0].joined is None or len(readers) != 1 or readers[0].op_type != "Add":
        return None
    other = next((v.producer() for v in readers[0].inputs if v is not None and not _from(v, quantize)), None)
    codes = None if other is None or other.inputs[0] is None else layer.held(other.inputs[0].name or "")
    if codes is None or other is None:
        return None
    step, zero = (float(v.const_value.numpy().item()) for v in other.inputs[1:3])  # type: ignore[union-attr]
    groups, share = layer.node.attributes.get_int("group", 1), rows_per_sample(layer.samples)

    def missing(found: NDArray[np.int8], wanted: FloatSample) -> NDArray[np.float64]:
        assert wanted.joined is not None
        return wanted.joined - step * (results(layer.node, found, groups, share).astype(np.float64) - zero)

    return map(missing, codes, exact)


def _from(value: ir.Value, quantize: ir.Node | None) -> bool:
    """Whether a dequantized value is what a node quantized."""
    made = value.producer()
    return made is not None and quantize is not None and made.inputs[0] is quantize.outputs[0]


def _change(inner: NDArray[np.float64], pull: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is added to the weights ``[groups, outputs, inputs]``."""
    half = _solved(inner[0], pull[0])
    agreed, size = float(np.sum(half * pull[1])), float(np.sum(half * (half @ inner[1])))
    share = min(max(agreed / size, 0.0), 1.0) if size > 0 else 0.0
    return share * _solved(inner.sum(axis=0), pull.sum(axis=0)) if share else np.zeros_like(pull[0])


def _solved(inner: NDArray[np.float64], pull: NDArray[np.float64]) -> NDArray[np.float64]:
    """``pull (inner + ridge)^-1`` of each group."""
    mean = np.trace(inner, axis1=1, axis2=2) / inner.shape[1]
    ridge = _RIDGE * np.maximum(mean, 1e-3 * mean.mean()) + 1e-9
    damped = inner + ridge[:, None, None] * np.eye(inner.shape[1])
    return np.asarray(np.linalg.solve(damped, pull.transpose(0, 2, 1)).transpose(0, 2, 1))


def _as_weight(node: ir.Node, rows: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0):
        return np.ascontiguousarray(rows.T)
    return rows.reshape(shape)
