"""Operators of TFLite that move values, against numpy, in both layouts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from n6convert.importers.tflite_builder import Unknown

Computed = Callable[..., np.ndarray]
X = np.arange(1 * 4 * 5 * 6, dtype=np.float32).reshape(1, 4, 5, 6)


def _i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_joins(axis: int, computed: Computed) -> None:
    wanted = np.concatenate([X, 2 * X], axis)
    assert np.array_equal(computed("CONCATENATION", [X], wanted.shape, [2 * X], {0: ("i32", axis)}), wanted)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_stacks(axis: int, computed: Computed) -> None:
    x = X[0]
    wanted = np.stack([x, 2 * x], axis)
    assert np.array_equal(computed("PACK", [x, 2 * x], wanted.shape, options={1: ("i32", axis)}), wanted)


@pytest.mark.parametrize("perm", list(itertools.permutations(range(4))))
def test_transposes(perm: tuple[int, ...], computed: Computed) -> None:
    wanted = X.transpose(perm)
    assert np.array_equal(computed("TRANSPOSE", [X], wanted.shape, [_i32(*perm)]), wanted)


@pytest.mark.parametrize(
    "shape", [(1, 20, 6), (4, 5, 6), (1, 120), (120,), (1, 5, 4, 6), (1, 4, 30), (1, 4, 5, 2, 3), (6, 20)]
)
def test_views(shape: tuple[int, ...], computed: Computed) -> None:
    """Whatever the layout, values keep TFLite's order."""
    assert np.array_equal(computed("RESHAPE", [X], shape, [_i32(*shape)]), X.reshape(shape))


@pytest.mark.parametrize(
    ("begin", "size"), [((0, 1, 2, 3), (1, 2, 3, 2)), ((0, 1, 0, 0), (-1, -1, -1, -1)), ((0, 0, 0, 0), (1, 4, 5, 6))]
)
def test_slices(begin: tuple[int, ...], size: tuple[int, ...], computed: Computed) -> None:
    ends = [None if n < 0 else b + n for b, n in zip(begin, size, strict=True)]
    wanted = X[tuple(slice(b, e) for b, e in zip(begin, ends, strict=True))]
    assert np.array_equal(computed("SLICE", [X], wanted.shape, [_i32(*begin), _i32(*size)]), wanted)


@st.composite
def _strided(draw: st.DrawFn) -> list[tuple[int, int, int, bool, bool]]:
    """Begin, end, step and two masks of each axis, none of them empty."""
    found = []
    for size in X.shape:
        step = draw(st.sampled_from([1, 1, 2, -1]))
        begin, end = draw(st.integers(-size, size - 1)), draw(st.integers(-size, size))
        masks = draw(st.booleans()), draw(st.booleans())
        part = slice(None if masks[0] else begin, None if masks[1] else end, step)
        if len(range(*part.indices(size))) == 0:
            begin, end, step, masks = 0, size, 1, (False, False)
        found.append((begin, end, step, *masks))
    return found


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(axes=_strided())
def test_strided_slices_are_those_of_python(axes: list[tuple[int, int, int, bool, bool]], computed: Computed) -> None:
    begin, end, steps, first, last = zip(*axes, strict=True)
    wanted = X[
        tuple(slice(None if f else b, None if n else e, s) for b, e, s, f, n in axes)
    ]  # fmt: skip
    masks = {i: ("i32", sum(bit << axis for axis, bit in enumerate(m))) for i, m in ((0, first), (1, last))}
    found = computed("STRIDED_SLICE", [X], wanted.shape, [_i32(*begin), _i32(*end), _i32(*steps)], masks)
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize(
    ("shrink", "index"),
    [
        ((0,), np.s_[0, :, :, :]),
        ((3,), np.s_[:, :, :, 2]),
        ((1, 2), np.s_[:, 2, 2, :]),
        ((0, 1, 2, 3), np.s_[0, 2, 2, 2]),
    ],
)
def test_an_index_drops_its_axis(shrink: tuple[int, ...], index: tuple[object, ...], computed: Computed) -> None:
    begin = [(0 if axis == 0 else 2) if axis in shrink else 0 for axis in range(4)]
    end = [b + 1 if axis in shrink else n for axis, (b, n) in enumerate(zip(begin, X.shape, strict=True))]
    wanted = X[index]
    options = {4: ("i32", sum(1 << axis for axis in shrink))}
    found = computed("STRIDED_SLICE", [X], wanted.shape, [_i32(*begin), _i32(*end), _i32(1, 1, 1, 1)], options)
    assert found.shape == wanted.shape and np.array_equal(found, wanted)


@pytest.mark.parametrize("mask", [2, 3])
def test_new_axes_and_ellipses_are_refused(mask: int, computed: Computed) -> None:
    bounds = [_i32(0, 0, 0, 0), _i32(1, 1, 1, 1), _i32(1, 1, 1, 1)]
    with pytest.raises(Unknown, match="ellipsis or a new axis") as caught:
        computed("STRIDED_SLICE", [X], (1, 1, 1, 1), bounds, {mask: ("i32", 1)})
    assert caught.value.place == "y"


_PADS = ((0, 0), (1, 2), (0, 3), (2, 0))


@pytest.mark.parametrize(("kind", "fill"), [("PAD", 0.0), ("PADV2", -1.5)])
def test_pads(kind: str, fill: float, computed: Computed) -> None:
    wanted = np.pad(X, _PADS, constant_values=fill)
    constants = [np.array(_PADS, np.int32), *([np.array(fill, np.float32)] if kind == "PADV2" else [])]
    assert np.array_equal(computed(kind, [X], wanted.shape, constants), wanted)


def test_mirrors(computed: Computed) -> None:
    pads = ((0, 0), (1, 2), (3, 0), (0, 0))
    wanted = np.pad(X, pads, mode="reflect")
    assert np.array_equal(computed("MIRROR_PAD", [X], wanted.shape, [np.array(pads, np.int32)]), wanted)
    with pytest.raises(Unknown, match="symmetric"):
        computed("MIRROR_PAD", [X], wanted.shape, [np.array(pads, np.int32)], {0: ("i8", 1)})


@pytest.mark.parametrize("axis", [1, 3, -1])
def test_gathers(axis: int, computed: Computed) -> None:
    wanted = np.take(X, [3, 0, 3], axis)
    assert np.array_equal(computed("GATHER", [X], wanted.shape, [_i32(3, 0, 3)], {0: ("i32", axis)}), wanted)
    with pytest.raises(Unknown, match="with batches"):
        computed("GATHER", [X], wanted.shape, [_i32(3, 0, 3)], {0: ("i32", axis), 1: ("i32", 1)})


def test_repeats(computed: Computed) -> None:
    wanted = np.tile(X, (1, 2, 1, 3))
    assert np.array_equal(computed("TILE", [X], wanted.shape, [_i32(1, 2, 1, 3)]), wanted)
    part = X[:, :1, :, :1]
    wide = np.broadcast_to(part, X.shape)
    assert np.array_equal(computed("BROADCAST_TO", [part], X.shape, [_i32(*X.shape)]), wide)


def test_places_by_coordinates(computed: Computed) -> None:
    at = np.array([[0, 2, 3, 1], [0, 3, 4, 5]], np.int32)
    wanted = X[tuple(at.T)]
    assert np.array_equal(computed("GATHER_ND", [X], wanted.shape, [at]), wanted)
