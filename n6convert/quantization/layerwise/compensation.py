"""Weights that take back what the layers before them did to a layer's inputs.

A layer of an INT8 model gets inputs ``Q`` where the float model has ``F``. Their difference is no mere noise: weights
in front that were rounded coarsely turn and scale the inputs, alike in every sample. So the weights ``W`` become
``W'`` with the least ``|F W^T - Q W'^T|^2``, by ridge regression towards ``W``, before they are rounded. Half of the
samples say how much of what the other half found is true of all: by so much the weights move.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import with_outputs
from n6convert.quantization.layerwise.rounding import Moments, as_rows, patches, rows_per_sample, spans_of
from n6convert.quantization.layerwise.walk import LAYERS, Layer
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.time_budget import Clock
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped

__all__ = ["FloatInputs", "compensated"]

Patches = NDArray[np.float32]
"""What a layer's weights multiply in one sample, ``[groups, places, inputs]``."""

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
        clock: ends the reading.

    Raises:
        OutOfTime: from :meth:`of`, when the clock ended.
    """

    def __init__(
        self,
        model: ir.Model,
        samples: Iterable[Mapping[str, NDArray[Any]]],
        names: Iterable[str],
        threads: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._model, self._samples, self._threads, self._clock = model, samples, threads, clock or Clock()
        nodes = {n.name: n for n in model.graph if n.op_type in LAYERS}
        self._left = [nodes[name] for name in names if name in nodes]
        self._held: dict[str, list[Patches]] = {}

    def of(self, layer: Layer) -> Sequence[Patches] | None:
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
        sources = {node.name or "": (node.inputs[0].name if node.inputs[0] else "") or "" for node in nodes}
        inner = [s for s in dict.fromkeys(sources.values()) if s not in entries]
        session = Session(with_outputs(self._model, inner), threads=1) if inner else None

        def read(sample: Mapping[str, NDArray[Any]]) -> dict[str, Patches]:
            values = dict(sample)
            if session is not None:
                values |= session.run({n: sample[n] for n in session.inputs})
            return {n.name or "": _patches(n, values[sources[n.name or ""]], samples) for n in nodes}

        return read


def _bytes(node: ir.Node, samples: int) -> int:
    """Memory that the node's float inputs take."""
    places = prod(d for d in list(node.outputs[0].shape or ())[2:] if isinstance(d, int))
    size, groups = _sizes(node)
    return 4 * samples * min(rows_per_sample(samples), places) * size * groups


def _sizes(node: ir.Node) -> tuple[int, int]:
    """Inputs of one group, and groups."""
    rows = as_rows(node, constant(node.inputs[1]))
    return 0 if rows is None else rows.shape[1], node.attributes.get_int("group", 1)


def _patches(node: ir.Node, values: NDArray[Any], samples: int) -> Patches:
    size, groups = _sizes(node)
    return patches(node, values, 0.0, size, groups, rows_per_sample(samples)).astype(np.float32)


def compensated(
    layer: Layer, weight: NDArray[np.float32], exact: Sequence[Patches]
) -> tuple[NDArray[np.float32], Moments]:
    """A layer's float weights, moved so that its INT8 inputs give what the float inputs gave.

    Args:
        weight: what its weights are in float, of a layer for which :func:`as_rows` has rows.
        exact: from :class:`FloatInputs`.

    Returns:
        The weights, and the second moments of the INT8 inputs for rounding them.
    """
    rows, scale = as_rows(layer.node, weight), layer.initializer(1, 1).const_value
    assert rows is not None and scale is not None
    groups = layer.node.attributes.get_int("group", 1)
    by_group = rows.astype(np.float64).reshape(groups, -1, rows.shape[1])
    steps = scale.numpy().astype(np.float64).reshape(groups, -1, 1)
    moved, moments = by_group.copy(), []
    for span in spans_of(rows.shape[1]):
        inner, cross = _sums(layer, exact, span, rows.shape[1], groups)
        unit = steps * _UNIT
        moved[:, :, span] += np.rint(_change(by_group[:, :, span], inner, cross) / unit) * unit
        moments.append(inner.sum(axis=0))
    shaped = moved.reshape(rows.shape).astype(np.float32)
    by_span = [moment[group] for group in range(groups) for moment in moments]
    return _as_weight(layer.node, shaped, weight.shape), by_span


def _sums(
    layer: Layer, exact: Sequence[Patches], span: slice, size: int, groups: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``Q^T Q`` and ``(F - Q)^T Q`` in steps of the input's grid, of the even samples and of the odd ones."""
    width = span.stop - span.start
    inner, cross = np.zeros((2, groups, width, width)), np.zeros((2, groups, width, width))
    scale = layer.initializer(0, 1).const_value
    assert scale is not None
    step, zero, share = float(scale.numpy()), layer.zero_point, rows_per_sample(layer.samples)
    for index, (codes, wanted) in enumerate(zip(layer.codes(), exact, strict=True)):
        found = patches(layer.node, codes, zero, size, groups, share)[:, :, span].astype(np.float64) - zero
        gaps = wanted[:, :, span] / step - found
        inner[index % 2] += found.transpose(0, 2, 1) @ found
        cross[index % 2] += gaps.transpose(0, 2, 1) @ found
    return inner, cross


def _change(rows: NDArray[np.float64], inner: NDArray[np.float64], cross: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is added to the weights ``[groups, outputs, inputs]``."""
    half = rows @ _solved(inner[0], cross[0])
    agreed = float(np.sum(half * (rows @ cross[1])))
    size = float(np.sum(half * (half @ inner[1])))
    share = min(max(agreed / size, 0.0), 1.0) if size > 0 else 0.0
    return share * (rows @ _solved(inner.sum(axis=0), cross.sum(axis=0))) if share else np.zeros_like(rows)


def _solved(inner: NDArray[np.float64], cross: NDArray[np.float64]) -> NDArray[np.float64]:
    """``cross (inner + ridge)^-1`` of each group."""
    mean = np.trace(inner, axis1=1, axis2=2) / inner.shape[1]
    ridge = _RIDGE * np.maximum(mean, 1e-3 * mean.mean()) + 1e-9
    damped = inner + ridge[:, None, None] * np.eye(inner.shape[1])
    return np.asarray(np.linalg.solve(damped, cross.transpose(0, 2, 1)).transpose(0, 2, 1))


def _as_weight(node: ir.Node, rows: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0):
        return np.ascontiguousarray(rows.T)
    return rows.reshape(shape)
