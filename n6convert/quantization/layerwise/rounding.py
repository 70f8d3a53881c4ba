"""Second-order rounding of a layer: its weights as a matrix, and the second moments of what that is multiplied with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.operators import LAYERS
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.layerwise.second_order import SMALL, round_groups, round_rows
from n6convert.quantization.layerwise.walk import Layer
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.time_budget import TimeBudget

__all__ = [
    "InputStatistics",
    "LastMoments",
    "SINGLE",
    "Moments",
    "Portion",
    "anything_to_round",
    "are_small",
    "as_rows",
    "count_from_zero",
    "from_rows",
    "input_statistics",
    "layer_moments",
    "lies_between_codes",
    "patches",
    "portions",
    "results",
    "round_layer",
    "rows_per_sample",
    "second_moments",
    "spans_of",
]

Moments = list[NDArray[np.float64]]
"""One matrix for each group and portion of inputs."""

#: rows (positions) of one layer that enter its second moments, over all samples: at most, for each input, at least
_ROWS, _ROWS_AN_INPUT, _LEAST_ROWS = 8192, 64, 1024
_EXACT = 2e-3
#: rows of int8 codes whose products sum to whole numbers that float32 holds exactly
SINGLE = (1 << 24) // 128**2
#: inputs that are weighed against each other; a wider matrix is rounded in portions of at most half as many, since
#: the moments grow with their square
_WIDEST = 2304


@dataclass(frozen=True)
class Portion:
    """Outputs and inputs of a layer that are rounded together: ``rows`` is ``[outputs, inputs]``."""

    rows: NDArray[np.float32]
    outputs: slice
    inputs: slice
    moments: NDArray[np.float64]


def round_layer(
    layer: Layer,
    weight: NDArray[np.float32],
    budget: TimeBudget | None = None,
    moments: Moments | None = None,
    last: LastMoments | None = None,
) -> None:
    """Choose the layer's integer weights for the float weights given, on the inputs that reach it.

    Args:
        moments: of other inputs, instead of those that reach the layer.
        last: moments of the layer before.

    Raises:
        BudgetExceeded: the budget ended; the layer is as it was.
    """
    moments = moments or layer_moments(layer, weight, last)
    rows = as_rows(layer.node, weight)
    if moments is None or rows is None:
        return
    codes, scales = layer.initializer(1), layer.initializer(1, 1)
    assert scales.const_value is not None
    steps = scales.const_value.numpy()
    rounded = round_groups(rows, steps, np.stack(moments), budget) if are_small(rows, moments) else None
    if rounded is None:
        rounded = np.empty(rows.shape, np.int8)
        for part in portions(layer.node, rows, moments):
            chosen = round_rows(part.rows, steps[part.outputs], part.moments, budget)
            rounded[part.outputs, part.inputs] = chosen
    codes.const_value = ir.Tensor(from_rows(layer.node, rounded, weight.shape), name=codes.name)


def are_small(rows: NDArray[np.float32], moments: Moments) -> bool:
    """Whether there are several groups, few of whose inputs each make a matrix of their own."""
    return len(moments) > 1 and rows.shape[1] <= SMALL and all(len(m) == rows.shape[1] for m in moments)


def portions(node: ir.Node, rows: NDArray[np.float32], moments: Moments) -> Iterator[Portion]:
    """The groups of a layer, each in portions of inputs that are not too wide, with the moments of each.

    Args:
        node: the layer.
        rows: its weights, one row per output.
        moments: of its inputs.
    """
    groups = node.attributes.get_int("group", 1)
    outputs, spans = len(rows) // groups, spans_of(rows.shape[1])
    for index, moment in enumerate(moments):
        group, span = divmod(index, len(spans))
        own = slice(group * outputs, (group + 1) * outputs)
        yield Portion(rows[own, spans[span]], own, spans[span], moment)


def layer_moments(layer: Layer, weight: NDArray[np.float32], last: LastMoments | None = None) -> Moments | None:
    """Second moments of the inputs that reach a layer; None where rounding has nothing to choose.

    Args:
        layer: with its samples.
        weight: float.
        last: those of the layer before, which are taken where the same codes reach this one.
    """
    rows = as_rows(layer.node, weight)
    if rows is None or not lies_between_codes(layer, weight):
        return None
    return (last or LastMoments()).of(layer, rows.shape[1])


def lies_between_codes(layer: Layer, weight: NDArray[np.float32]) -> bool:
    """Whether any of a layer's float weights lies between the codes of its scales, so that rounding has a choice."""
    rows, scales = as_rows(layer.node, weight), layer.initializer(1, 1)
    assert scales.const_value is not None
    return rows is not None and not _is_on_grid(rows, scales.const_value.numpy())


class LastMoments:
    """The second moments that were computed last: the projections of an attention read the same codes.

    Args:
        rows: of one layer that enter them at most, over all samples.
    """

    def __init__(self, rows: int = _ROWS) -> None:
        self._rows = rows
        self._found = InputStatistics([], np.zeros((0, 0)), 0)
        self._codes: list[NDArray[np.int8]] = []
        self._form: tuple[Any, ...] = ()

    def of(self, layer: Layer, size: int) -> Moments:
        """Those of a layer with so many inputs in each group."""
        return self.statistics(layer, size).moments

    def statistics(self, layer: Layer, size: int) -> InputStatistics:
        """The same, and what else is known of these inputs."""
        codes, node = list(layer.codes()), layer.node
        form = (node.op_type, size, layer.zero_point, sorted((a.name, str(a.value)) for a in node.attributes.values()))
        same = form == self._form and len(codes) == len(self._codes)
        if not same or not all(map(np.array_equal, codes, self._codes)):
            self._found = input_statistics(layer, size, node.attributes.get_int("group", 1), self._rows)
            self._codes, self._form = codes, form
        return self._found


def anything_to_round(model: ir.Model, plan: Plan) -> bool:
    """Whether any weight of the float model lies between the codes of its scales."""
    layers = [node for node in model.graph if node.op_type in LAYERS]
    weights = [(node, plan.weights.get(node.inputs[1].name or "")) for node in layers if node.inputs[1] is not None]
    for node, planned in weights:
        rows = as_rows(node, constant(node.inputs[1])) if planned is not None else None
        if planned is not None and rows is not None and not _is_on_grid(rows, planned.scales):
            return True
    return False


def spans_of(size: int) -> list[slice]:
    """The portions of equal width in which a matrix of that many inputs is rounded."""
    count = -(-size // (_WIDEST // 2)) if size > _WIDEST else 1
    return [slice(size * i // count, size * (i + 1) // count) for i in range(count)]


def rows_per_sample(samples: int, inputs: int = _WIDEST, most: int = _ROWS) -> int:
    """How many rows of each sample enter the second moments of so many inputs."""
    return max(min(most, max(_ROWS_AN_INPUT * inputs, _LEAST_ROWS)) // max(samples, 1), 32 if inputs > SMALL else 16)


def _is_on_grid(rows: NDArray[np.float32], scales: NDArray[np.float32]) -> bool:
    """Whether rounding changes nothing, as for weights that were int8 before."""
    target = rows / scales[:, None]
    return bool(np.abs(target - np.rint(target)).max(initial=0.0) < _EXACT)


def second_moments(layer: Layer, size: int, groups: int) -> Moments:
    """``X^T X`` of the rows that each group's weights multiply, over the samples; for wide ones of each portion.

    In whole numbers, steps of the input's grid, whose sums are exact in any order.

    Args:
        layer: with its samples.
        size: inputs of one group.
        groups: of channels.
    """
    return input_statistics(layer, size, groups).moments


@dataclass(frozen=True)
class InputStatistics:
    """Sums over the rows that a layer's weights multiply, in steps of its input's grid.

    Attributes:
        moments: :func:`second_moments`.
        means: of each input ``[groups, inputs]``.
        count: of rows.
    """

    moments: Moments
    means: NDArray[np.float64]
    count: int

    def around_means(self) -> Moments:
        """The moments without what the means have to do with them."""
        spans = spans_of(self.means.shape[1])
        means = [mean[span] for mean in self.means for span in spans]
        return [m - self.count * np.outer(x, x) for m, x in zip(self.moments, means, strict=True)]


def input_statistics(layer: Layer, size: int, groups: int, most: int = _ROWS) -> InputStatistics:
    """The sums over a layer's samples.

    Args:
        layer: with its samples.
        size: inputs of one group.
        groups: of channels.
        most: rows that enter them.
    """
    spans = spans_of(size)
    totals = [np.zeros((groups, s.stop - s.start, s.stop - s.start)) for s in spans]
    sums, count = np.zeros((groups, size)), 0
    share = rows_per_sample(layer.samples, size, most)
    zero = layer.zero_point
    for some in _together(patches(layer.node, codes, zero, size, groups, share) for codes in layer.codes()):
        rows: NDArray[Any] = some.astype(np.float32 if some.shape[1] <= SINGLE else np.float64)
        count += rows.shape[1]
        sums += rows.sum(axis=1, dtype=np.float64)
        for total, span in zip(totals, spans, strict=True):
            inputs = rows[:, :, span]
            total += inputs.transpose(0, 2, 1) @ inputs
    for total, span in zip(totals, spans, strict=True):
        count_from_zero(total, sums[:, span], count, zero)
    sums -= count * zero
    return InputStatistics([total[g] for g in range(groups) for total in totals], sums / max(count, 1), count)


def count_from_zero(total: NDArray[np.float64], sums: NDArray[np.float64], count: int, zero: int) -> None:
    """Turn second moments of codes into those of codes less the one that stands for 0, in place.

    All of them are whole numbers that float64 holds, and products of codes themselves are smaller: more rows add up
    exactly in float32.

    Args:
        total: ``[groups, inputs, inputs]``.
        sums: of the codes ``[groups, inputs]``.
        count: of rows.
        zero: the code that stands for 0.
    """
    halves = zero * sums - 0.5 * count * zero**2
    total -= halves[:, :, None]
    total -= halves[:, None, :]


def _together(each: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Rows of several samples at once, as many as float32 adds up exactly: large sums are added less often."""
    held: list[NDArray[Any]] = []
    for rows in each:
        if held and sum(h.shape[1] for h in held) + rows.shape[1] > SINGLE:
            yield np.concatenate(held, axis=1)
            held.clear()
        held.append(rows)
    if held:
        yield np.concatenate(held, axis=1)


def patches(node: ir.Node, codes: NDArray[Any], zero: float, size: int, groups: int, share: int) -> NDArray[Any]:
    """Rows of a layer's input under its kernel, evenly chosen positions ``[groups, positions, size]``.

    Args:
        node: the layer.
        codes: its input in one sample: codes or values.
        zero: what padding holds.
        size: inputs of one group.
        groups: of channels.
        share: positions at most.
    """
    if node.op_type == "Gemm":
        flat = codes.T if node.attributes.get_int("transA", 0) else codes
        return _evenly(flat, share)[None]
    kernel = list(node.attributes.get_ints("kernel_shape", [])) or _kernel(node)
    rank = len(kernel)
    strides = list(node.attributes.get_ints("strides", [1] * rank))
    dilations = list(node.attributes.get_ints("dilations", [1] * rank))
    pads = list(node.attributes.get_ints("pads", [0] * (2 * rank)))
    if not any(pads) and set(kernel) == {1}:
        return _points(codes[(slice(None), slice(None), *(slice(None, None, s) for s in strides))], groups, share)
    widths = [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]
    padded = np.pad(codes, widths, constant_values=zero) if any(pads) else codes
    windows = [d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(padded, windows, axis=tuple(range(2, 2 + rank)))
    steps: list[Any] = [slice(None, None, s) for s in (1, 1, *strides, *dilations)]
    view = view[tuple(steps)]
    positions = _positions(view.shape[2 : 2 + rank], share)
    index: list[Any] = [slice(None), *positions]
    picked = view[0][tuple(index)]  # [channels, positions, *kernel]
    by_group = picked.reshape(groups, -1, *picked.shape[1:])
    return np.ascontiguousarray(np.moveaxis(by_group, 1, 2)).reshape(groups, -1, size)


def _points(codes: NDArray[Any], groups: int, share: int) -> NDArray[Any]:
    """:func:`patches` of a kernel of one place without padding."""
    picked: NDArray[Any] = codes[0][(slice(None), *_positions(codes.shape[2:], share))]
    return np.ascontiguousarray(picked.reshape(groups, -1, picked.shape[1]).transpose(0, 2, 1))


def results(node: ir.Node, values: NDArray[Any], groups: int, share: int) -> NDArray[Any]:
    """A layer's results at the places of :func:`patches`, ``[groups, positions, outputs]``.

    Args:
        node: the layer.
        values: a tensor of its output's shape in one sample.
        groups: of channels.
        share: positions at most.
    """
    if node.op_type == "Gemm":
        return _evenly(values, share)[None]
    picked: NDArray[Any] = values[0][(slice(None), *_positions(values.shape[2:], share))]
    return picked.reshape(groups, -1, picked.shape[1]).transpose(0, 2, 1)


def _positions(shape: tuple[int, ...], share: int) -> tuple[NDArray[np.int64], ...]:
    count = int(np.prod(shape))
    flat = np.linspace(0, count - 1, min(share, count)).astype(np.int64)
    return tuple(np.asarray(i, np.int64) for i in np.unravel_index(flat, shape))


def _evenly(rows: NDArray[Any], share: int) -> NDArray[Any]:
    return rows[:: max(-(-rows.shape[0] // share), 1)]


def _kernel(node: ir.Node) -> list[int]:
    shape = node.inputs[1].shape if node.inputs[1] is not None else None
    return [d for d in list(shape or [])[2:] if isinstance(d, int)]


def as_rows(node: ir.Node, weight: NDArray[np.float32]) -> NDArray[np.float32] | None:
    """Weights as ``[outputs, inputs]``; None for operators and paddings that are not handled."""
    if node.op_type == "Gemm":
        return weight if node.attributes.get_int("transB", 0) else np.ascontiguousarray(weight.T)
    if node.op_type != "Conv" or node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return None
    return weight.reshape(weight.shape[0], -1)


def from_rows(node: ir.Node, rows: NDArray[np.int8], shape: tuple[int, ...]) -> NDArray[np.int8]:
    """A weight from its rows, in the shape and order that the layer wants.

    Args:
        node: the layer.
        rows: codes, one row per output.
        shape: of the weight.
    """
    if node.op_type == "Gemm" and not node.attributes.get_int("transB", 0):
        return np.ascontiguousarray(rows.T)
    return rows.reshape(shape)
