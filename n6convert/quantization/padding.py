"""Rows of a text model's tensors that stand for padding: nothing reads them, so no figure may count them.

A padded sequence comes with a mask: an input that is 0 for tokens and far below 0 for padding, added to attention
scores; or one of 1 and 0. A tensor with as many rows as the mask has places holds one row a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.dag import reach
from n6convert.types import Feeds

__all__ = ["axes_of_places", "tokens_alone", "tokens_of", "without_padding"]

#: exp(-8) is less than half an int8 step of a Softmax: what is masked by less takes part
_HIDDEN = -8.0
_MOVES = frozenset({"Reshape", "Transpose", "Unsqueeze", "Expand", "Squeeze", "Cast", "Identity", "Sub", "Mul"})


def tokens_of(graph: ir.Graph, sample: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_] | None:
    """Which places of the sequence hold tokens ``[S]``; None without a mask, or where nothing is padded."""
    for value in graph.inputs:
        array = np.asarray(sample[value.name or ""])
        if array.size < 2 or array.shape[-1] != array.size:
            continue
        places = _places(array.reshape(-1))
        if places is not None and _is_added(value):
            return places
    return None


def _places(array: NDArray[Any]) -> NDArray[np.bool_] | None:
    found = array == 0 if array.dtype.kind == "f" and array.max() == 0 else array == 1
    rest = array[~found]
    hidden = rest.size and (rest.max() <= _HIDDEN if array.max() == 0 else not rest.any())
    return found if hidden and found.any() else None


def _is_added(value: ir.Value) -> bool:
    """Whether all that reads an input, behind moves and scaling, are sums or choices by it."""
    moved = reach(value, lambda v: [n.outputs[0] for n in v.consumers() if n.op_type in _MOVES])
    readers = [list(v.consumers()) for v in moved]
    ends = ("Add", "Where", *_MOVES)
    return all(readers) and all(n.op_type in ends for group in readers for n in group)


def axes_of_places(shape: Sequence[int], places: int) -> range:
    """The axes of a tensor that a sequence of so many places lies along; none where that is not clear.

    One axis, or height and width of a map that together make up the sequence, as rewritten layers read it.
    """
    axes = [i for i, d in enumerate(shape) if d == places]
    if len(axes) == 1:
        return range(axes[0], axes[0] + 1)
    return range(2, 4) if not axes and len(shape) == 4 and shape[2] * shape[3] == places else range(0)


def without_padding(array: NDArray[Any], tokens: NDArray[np.bool_] | None) -> NDArray[Any]:
    """A tensor without its padded rows; as it is when its rows are no places of the sequence.

    Of a map whose height and width are the sequence, ``[N, C, tokens]`` is left.
    """
    if tokens is None or not (axes := axes_of_places(array.shape, tokens.size)):
        return array
    rows = array.reshape(*array.shape[: axes.start], tokens.size, *array.shape[axes.stop :])
    return np.compress(tokens, rows, axis=axes.start)


def tokens_alone(graph: ir.Graph, samples: Iterable[Feeds]) -> Iterator[Feeds]:
    """Samples whose padding repeats their tokens: what is chosen by the rows of any tensor is chosen by tokens.

    The mask hides those rows as before, so that no token's values change. Short texts are mostly padding: of 64 places
    a phrase fills 14.

    Args:
        graph: whose inputs they are.
        samples: arrays by input name.
    """
    for sample in samples:
        tokens = tokens_of(graph, sample)
        yield sample if tokens is None or tokens.all() else _filled(graph, sample, tokens)


def _filled(graph: ir.Graph, sample: Feeds, tokens: NDArray[np.bool_]) -> Feeds:
    """The sample with what its tokens hold in the places of padding; the mask, one number a place, stays.

    Where there are as many features as places, places come first.
    """
    places, real = np.arange(tokens.size), np.flatnonzero(tokens)
    places[~tokens] = np.resize(real, tokens.size - real.size)
    found = dict(sample)
    for name in (v.name or "" for v in graph.inputs):
        array = np.asarray(sample[name])
        axes = [i for i, size in enumerate(array.shape) if size == tokens.size]
        if axes and array.size > tokens.size:
            found[name] = array.take(places, axis=axes[0])
    return found
