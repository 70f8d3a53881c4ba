"""Slices as numpy cuts: their bounds as positions, their axis, and what strided chains pick."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_text import drawn, node_of, parsed, value_of

from n6convert.graph.patterns.slices import axis_of, picked_pixels, slice_bounds
from n6convert.runtime.session import run_model

FAR = 2**31 - 1


def cut(shape: tuple[int, ...], *bounds: list[int]) -> Any:
    names = ["starts", "ends", "axes", "steps"][: len(bounds)]
    constants = {n: np.array(b, np.int64) for n, b in zip(names, bounds, strict=True)}
    shown = ",".join(map(str, shape))
    return parsed(f"y = Slice(x, {', '.join(names)})", f"float[{shown}] x", "float[] y", **constants)


@given(start=st.integers(-20, 20), stop=st.integers(-20, 20), step=st.integers(1, 5), size=st.integers(1, 12))
def test_bounds_are_the_positions_of_pythons_slices(start: int, stop: int, step: int, size: int) -> None:
    starts, ends, axes, steps = slice_bounds(node_of(cut((2, size), [start], [stop], [1], [step]), "Slice"))
    wanted = np.arange(size)[start:stop:step]
    np.testing.assert_array_equal(np.arange(size)[int(starts[0]) : int(ends[0]) : int(steps[0])], wanted)
    assert 0 <= starts[0] <= size and 0 <= ends[0] <= size and axes[0] == 1


@pytest.mark.parametrize(("bounds", "wanted"), [
    (([1, -3], [FAR, -1]), [[1, 2], [2, 4], [0, 1], [1, 1]]),
    (([-1], [FAR], [-1]), [[4], [5], [-1], [1]]),
    (([-FAR], [FAR], [0], [2]), [[0], [2], [0], [2]]),
])  # fmt: skip
def test_what_is_left_out_is_every_axis_in_steps_of_one(bounds: tuple[list[int], ...], wanted: list[list[int]]) -> None:
    assert [b.tolist() for b in slice_bounds(node_of(cut((2, 5), *bounds), "Slice"))] == wanted


def test_a_cut_backwards_keeps_its_own_bounds() -> None:
    """The end of a reversal, -FAR, would be position 0 forwards and cut the first element off."""
    model = cut((2, 5), [-1], [-FAR], [1], [-1])
    assert [int(b[0]) for b in slice_bounds(node_of(model, "Slice"))] == [-1, -FAR, 1, -1]


@pytest.mark.parametrize(("body", "axis"), [
    ("y = Concat<axis=-1>(x, x)", 2),
    ("y = Slice(x, one, two, minus)", 2),
    ("y = Slice(x, pair, ends, axes)", None),
    ("y = Slice(x, one, two)", 0),
    ("n = Identity(one) y = Slice(x, one, two, n)", None),
])  # fmt: skip
def test_the_one_axis_that_is_cut(body: str, axis: int | None) -> None:
    numbers = {"one": [1], "two": [2], "minus": [-1], "pair": [0, 0], "ends": [1, 1], "axes": [1, 2]}
    constants = {k: np.array(v, np.int64) for k, v in numbers.items()}
    model = parsed(body, "float[2,3,4] x", "float[] y", **constants)
    assert axis_of(node_of(model, "Concat" if "Concat" in body else "Slice")) == axis


def test_a_split_of_unknown_size_has_no_axis() -> None:
    model = parsed("y, z = Split<axis=1>(x)", "float[n,m] x", "float[a,b] y, float[c,d] z")
    model.graph.outputs[0].shape = None
    assert axis_of(node_of(model, "Split")) is None


ROWS = [(2, first, step) for step in (2, 3) for first in range(step)]


@pytest.mark.parametrize(("rows", "columns"), list(itertools.product(ROWS, [(3, 0, 2), (3, 1, 2), None])))
def test_chains_pick_what_their_kernel_picks(rows: tuple[int, int, int], columns: tuple[int, int, int] | None) -> None:
    """A convolution with the kernel and its steps gives the same pixels as running the Slices does."""
    chain = [rows] + ([columns] if columns else [])
    body, constants, name = [], {}, "x"
    for i, (axis, first, step) in enumerate(chain):
        constants |= {f"{k}{i}": np.array([v], np.int64) for k, v in zip("fsat", (first, FAR, axis, step), strict=True)}
        body.append(f"y{i} = Slice({name}, f{i}, s{i}, a{i}, t{i})")
        name = f"y{i}"
    model = parsed(" ".join(body), "float[1,1,6,12] x", f"float[] {name}", **constants)
    found = picked_pixels(value_of(model, name))
    assert found is not None and found.x.name == "x" and found.shape == (1, 1, 6, 12)
    feeds = drawn({"x": (1, 1, 6, 12)})
    blocks = feeds["x"].reshape(6 // found.step[0], found.step[0], 12 // found.step[1], found.step[1])
    wanted = np.einsum("ahbw,hw->ab", blocks, found.kernel()[0, 0])
    np.testing.assert_array_equal(run_model(model, feeds)[name][0, 0], wanted)


@pytest.mark.parametrize(("bounds", "why"), [
    (([0], [FAR], [1], [2]), "channels, no pixels"),
    (([0], [FAR], [2], [4]), "6 rows are no multiple of 4"),
    (([2], [FAR], [2], [2]), "starts behind the first block"),
    (([0], [3], [2], [2]), "ends before the last block"),
    (([0], [FAR], [2], [1]), "picks all"),
    (([-1], [-FAR], [2], [-2]), "runs backwards"),
    (([1], [5], [2], [2]), "the last block's second row is not reached"),
])  # fmt: skip
def test_other_cuts_are_not_picked(bounds: tuple[list[int], ...], why: str) -> None:
    assert picked_pixels(value_of(cut((1, 4, 6, 8), *bounds), "y")) is None, why


def test_the_last_pixel_just_reached() -> None:
    found = picked_pixels(value_of(cut((1, 4, 6, 8), [1], [6], [2], [2]), "y"))
    assert found is not None and found.kernel().tolist() == [[[[0.0], [1.0]]]]


def test_rows_that_are_cut_twice_are_not_one_pick() -> None:
    names = {"f": [1], "e": [FAR], "a": [2], "s": [2]}
    constants = {k: np.array(v, np.int64) for k, v in names.items()}
    text = "t = Slice(x, f, e, a, s) y = Slice(t, f, e, a, s)"
    model = parsed(text, "float[1,1,8,8] x", "float[] y", **constants)
    found = picked_pixels(value_of(model, "y"))
    assert found is None or (found.x.name == "t" and found.step == (2, 1))
