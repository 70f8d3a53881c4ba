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
from typing import Any, NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.patterns.layers import layers_by_name
from n6convert.quantization.layerwise.rounding import (
    SINGLE,
    InputStatistics,
    as_rows,
    count_from_zero,
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

__all__ = ["Compensated", "FloatResults", "FloatSample", "compensated"]


@dataclass(frozen=True)
class FloatSample:
    """A layer in the float model, at some places of one sample.

    Attributes:
        results: what it gives without its bias, ``[groups, places, outputs]``.
        joined: what is added to its results, of the same shape; None: nothing that is known before.
    """

    results: NDArray[np.float32]
    joined: NDArray[np.float32] | None


#: bytes of float results that are held at once
_HELD = 256 << 20
#: noise on every input, relative to the mean one's energy
_RIDGE = 0.1
#: inputs of a layer that tell how much of what one half of the samples says holds for the other, at most
_AGREED = 1024
#: of a step of a weight's grid: what a change is rounded to, so that last bits of sums do not count
_UNIT = 1 / 64


class FloatResults:
    """What layers give in the float model, for some layers at a time: memory does not grow with their number.

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
        self._left = [
            nodes[n] for n in names if n in nodes and as_rows(nodes[n], constant(nodes[n].inputs[1])) is not None
        ]
        self._held: dict[str, list[FloatSample]] = {}

    def of(self, layer: Layer) -> Sequence[FloatSample] | None:
        """One for each sample; None for layers that were not named, or whose weights are no rows."""
        if layer.name not in self._held:
            if all(node.name != layer.name for node in self._left):
                return None
            self._load(layer.name, layer.samples)
        return self._held[layer.name]

    def _load(self, first: str, samples: int) -> None:
        """Compute the results of this layer and of as many that follow as fit in memory."""
        while self._left[0].name != first:
            self._left.pop(0)
        chosen, room = [self._left.pop(0)], _HELD
        room -= _bytes(chosen[0], samples)
        while self._left and (room := room - _bytes(self._left[0], samples)) >= 0:
            chosen.append(self._left.pop(0))
        self._held = {node.name or "": [] for node in chosen}
        for found in mapped(self._reader(chosen, samples), self._clock.watch(self._samples), self._threads):
            for name, rows in found.items():
                self._held[name].append(rows)

    def _reader(self, nodes: Sequence[ir.Node], samples: int) -> Any:
        wanted = {node: (_name(node.outputs[0]), _name(_joined(node))) for node in nodes}
        entries = {v.name for v in self._model.graph.inputs}
        inner = [name for pair in wanted.values() for name in pair if name and name not in entries]
        session = Session(self._model, list(dict.fromkeys(inner)), threads=1)

        def read(sample: Mapping[str, NDArray[Any]]) -> dict[str, FloatSample]:
            values = dict(sample) | session.run_on(sample)
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


def _share(node: ir.Node, samples: int) -> int:
    """Places of one sample that are looked at, at most."""
    rows = as_rows(node, constant(node.inputs[1]))
    assert rows is not None
    return rows_per_sample(samples, rows.shape[1])


def _bytes(node: ir.Node, samples: int) -> int:
    """Memory that the node's float results take."""
    shape = [d for d in node.outputs[0].shape or () if isinstance(d, int)]
    places, channels = (shape[0], shape[-1]) if node.op_type == "Gemm" else (prod(shape[2:]), shape[1])
    return 4 * samples * min(_share(node, samples), places) * channels * (1 + (_joined(node) is not None))


def _seen(node: ir.Node, values: NDArray[Any], joined: NDArray[Any] | None, samples: int) -> FloatSample:
    groups, share = node.attributes.get_int("group", 1), _share(node, samples)
    found = results(node, values, groups, share) - constant(node.inputs[2]).reshape(groups, 1, -1)
    other = None if joined is None else results(node, joined, groups, share).astype(np.float32)
    return FloatSample(found.astype(np.float32), other)


class Compensated(NamedTuple):
    """A layer that takes back what its inputs lost.

    Attributes:
        weight: float, as the layer has it.
        shift: what its bias gains, one number for each output.
        inputs: what reaches it.
    """

    weight: NDArray[np.float32]
    shift: NDArray[np.float64]
    inputs: InputStatistics


def compensated(layer: Layer, weight: NDArray[np.float32], exact: Sequence[FloatSample]) -> Compensated:
    """A layer's float weights and bias, moved so that its INT8 inputs give what the float inputs gave.

    Args:
        weight: what its weights are in float, of a layer for which :func:`as_rows` has rows.
        exact: from :class:`FloatResults`.
    """
    rows, scale, step = as_rows(layer.node, weight), layer.initializer(1, 1).const_value, layer.initializer(0, 1)
    assert rows is not None and scale is not None and step.const_value is not None
    groups, spans = layer.node.attributes.get_int("group", 1), spans_of(rows.shape[1])
    by_group = rows.astype(np.float64).reshape(groups, -1, rows.shape[1])
    unit = scale.numpy().astype(np.float64).reshape(groups, -1, 1) * _UNIT
    even, odd = sums = _sums(layer, exact, by_group, float(step.const_value.numpy()))
    change = np.zeros_like(by_group)
    for index, span in enumerate(spans):
        inner, pull = zip(*(half.around_means(index, span) for half in sums), strict=True)
        change[:, :, span] = np.rint(_change(inner, pull) / unit) * unit
    moved = _as_weight(layer.node, (by_group + change).reshape(rows.shape).astype(np.float32), weight.shape)
    count, inputs = even.count + odd.count, even.inputs + odd.inputs
    means = inputs / max(count, 1)
    shift = (even.missing + odd.missing) / max(count, 1) - np.einsum("goi,gi->go", change, means)
    moments = [a[g] + b[g] for g in range(groups) for a, b in zip(even.inner, odd.inner, strict=True)]
    return Compensated(moved, shift.ravel() * float(step.const_value.numpy()), InputStatistics(moments, means, count))


class _Half:
    """Sums over half of the samples, in steps of the input's grid.

    Attributes:
        inner: ``Q^T Q`` of each span ``[groups, inputs, inputs]``.
        pull: what is missing in the result times ``Q``, of each span ``[groups, outputs, inputs]``.
        inputs, missing: sums of ``Q`` and of what is missing.
        count: of rows.
    """

    def __init__(self, groups: int, outputs: int, spans: Sequence[slice], zero: int) -> None:
        sizes, self._spans, self._zero = [s.stop - s.start for s in spans], spans, zero
        self.inner = [np.zeros((groups, size, size)) for size in sizes]
        self.pull = [np.zeros((groups, outputs, size)) for size in sizes]
        self.inputs, self.missing, self.count = np.zeros((groups, sum(sizes))), np.zeros((groups, outputs)), 0

    def add(self, codes: NDArray[np.float32], found: NDArray[np.float32], gaps: NDArray[np.floating]) -> None:
        """Take some rows of inputs, as codes and less the one that stands for 0, and what their results miss."""
        whole = codes if codes.shape[1] <= SINGLE else codes.astype(np.float64)
        self.count += found.shape[1]
        self.inputs += whole.sum(axis=1)
        self.missing += gaps.sum(axis=1, dtype=np.float64)
        for span, inner, pull in zip(self._spans, self.inner, self.pull, strict=True):
            part = whole[:, :, span]
            inner += part.transpose(0, 2, 1) @ part
            pull += gaps.transpose(0, 2, 1) @ found[:, :, span]

    def close(self) -> None:
        """Count inputs from the code that stands for 0, after all rows were taken."""
        for span, inner in zip(self._spans, self.inner, strict=True):
            count_from_zero(inner, self.inputs[:, span], self.count, self._zero)
        self.inputs -= self.count * self._zero

    def around_means(self, index: int, span: slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A span's ``inner`` and ``pull`` without what the means have to do with them: those the bias takes over."""
        means = self.inputs[:, None, span] / max(self.count, 1)
        inner = self.inputs[:, span, None] * means
        return np.subtract(self.inner[index], inner, out=inner), self.pull[index] - self.missing[:, :, None] * means


def _sums(layer: Layer, exact: Sequence[FloatSample], rows: NDArray[np.float64], step: float) -> tuple[_Half, _Half]:
    """Of the even samples and of the odd ones.

    Args:
        rows: the weights ``[groups, outputs, inputs]``.
        step: of the input's grid.
    """
    groups, outputs, size = rows.shape
    zero, share, spans = layer.zero_point, rows_per_sample(layer.samples, size), spans_of(size)
    halves = _Half(groups, outputs, spans, zero), _Half(groups, outputs, spans, zero)
    others, codes = _missing(layer, exact, share), list(layer.codes())
    known = [sample.results if others is None else sample.results + next(others) for sample in exact]
    weight, at_once = rows.transpose(0, 2, 1).astype(np.float32), max(SINGLE // known[0].shape[1], 1)
    for index, half in enumerate(halves):
        own = range(index, len(codes), 2)
        for some in (own[start : start + at_once] for start in range(0, len(own), at_once)):
            parts = [patches(layer.node, codes[i], float(zero), size, groups, share) for i in some]
            rows_of_codes = np.concatenate(parts, axis=1).astype(np.float32)
            found = rows_of_codes - np.float32(zero)
            wanted = np.concatenate([known[i] for i in some], axis=1) / np.float32(step)
            half.add(rows_of_codes, found, wanted - found @ weight)
        half.close()
    return halves


def _missing(layer: Layer, exact: Sequence[FloatSample], share: int) -> Iterator[NDArray[np.float32]] | None:
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
    groups = layer.node.attributes.get_int("group", 1)

    def missing(found: NDArray[np.int8], wanted: FloatSample) -> NDArray[np.float32]:
        assert wanted.joined is not None
        return wanted.joined - np.float32(step) * (
            results(layer.node, found, groups, share).astype(np.float32) - np.float32(zero)
        )

    return map(missing, codes, exact)


def _from(value: ir.Value, quantize: ir.Node | None) -> bool:
    """Whether a dequantized value is what a node quantized."""
    made = value.producer()
    return made is not None and quantize is not None and made.inputs[0] is quantize.outputs[0]


def _change(inner: Sequence[NDArray[np.float64]], pull: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """What is added to the weights ``[groups, outputs, inputs]``; the first of ``inner`` ends as the sum of both."""
    some = slice(None, None, -(-pull[0].shape[2] // _AGREED))
    few, asked = ([a[:, :, some] for a in arrays] for arrays in ([i[:, some] for i in inner], pull))
    half = _solved(few[0], asked[0])
    agreed, size = float(np.sum(half * asked[1])), float(np.sum(half * (half @ few[1])))
    share = min(max(agreed / size, 0.0), 1.0) if size > 0 else 0.0
    if not share:
        return np.zeros_like(pull[0])
    return share * _solved(np.add(inner[0], inner[1], out=inner[0]), pull[0] + pull[1])


def _solved(inner: NDArray[np.float64], pull: NDArray[np.float64]) -> NDArray[np.float64]:
    """``pull (inner + ridge)^-1`` of each group."""
    mean = np.trace(inner, axis1=1, axis2=2) / inner.shape[1]
    ridge = _RIDGE * np.maximum(mean, 1e-3 * mean.mean()) + 1e-9
    diagonal = np.einsum("gii->gi", inner)  # a view: wide matrices are not copied for it
    before = diagonal.copy()
    diagonal += ridge[:, None]
    found = np.asarray(np.linalg.solve(inner, pull.transpose(0, 2, 1)).transpose(0, 2, 1))
    diagonal[:] = before
    return found


def _as_weight(node: ir.Node, rows: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0):
        return np.ascontiguousarray(rows.T)
    return rows.reshape(shape)
