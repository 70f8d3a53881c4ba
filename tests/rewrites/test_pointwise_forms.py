"""Products along axes and permutations against numpy, from kernels of one pixel alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import computed, made

from n6convert.graph.builder import AXIS_LIMIT
from n6convert.rewrites.pointwise_forms import along_axes, permutation, product_along
from n6convert.rewrites.recurrent_steps import moved


def matrix(rows: int, columns: int) -> Any:
    return np.random.default_rng(rows * 100 + columns).standard_normal((rows, columns)).astype(np.float32)


@pytest.mark.parametrize("over_height", [None, (7, 4), (1, 4), (4, 4)])
@pytest.mark.parametrize("over_width", [None, (2, 5), (5, 5)])
@pytest.mark.parametrize("channels", [1, 3])
def test_both_axes_of_a_map(over_height: Any, over_width: Any, channels: int) -> None:
    high, wide = (None if shape is None else matrix(*shape) for shape in (over_height, over_width))
    (found,), feeds = computed({"x": (1, channels, 4, 5)}, lambda b, x: b.unary("Neg", along_axes(b, x, high, wide)))
    wanted = feeds["x"]
    wanted = wanted if high is None else np.einsum("oh,bchw->bcow", high, wanted)
    wanted = wanted if wide is None else np.einsum("ow,bchw->bcho", wide, wanted)
    np.testing.assert_allclose(found, -wanted, rtol=1e-4, atol=1e-5)


def test_a_map_is_turned_as_hardware_does_it() -> None:
    model, _ = made({"x": (1, 3, 4, 5)}, lambda b, x: along_axes(b, x, matrix(7, 4), matrix(2, 5)))
    perms = {tuple(n.attributes["perm"].value) for n in model.graph if n.op_type == "Transpose"}
    assert perms == {(0, 2, 1)} and {n.op_type for n in model.graph} == {"Transpose", "Reshape", "Conv"}
    assert all(n.attributes["kernel_shape"].value in ((1, 1), [1, 1]) for n in model.graph if n.op_type == "Conv")


@pytest.mark.parametrize(("outer", "inner"), [(1, 4), (4, 1), (2, 3), (3, 2), (4, 4)])
def test_channels_exchanged_by_a_matrix(outer: int, inner: int) -> None:
    found = permutation(outer, inner)
    values = np.arange(outer * inner)
    np.testing.assert_array_equal(found @ values, values.reshape(outer, inner).T.ravel())
    np.testing.assert_array_equal(permutation(inner, outer) @ found, np.eye(outer * inner))


@pytest.mark.parametrize(
    ("axes", "result"), [([3], [2]), ([2], [7]), ([1], [3]), ([2, 3], [2, 3]), ([3, 1], [6, 1]), ([1, 3], [1, 4])]
)
def test_numbers_along_some_axes_as_one_vector(axes: list[int], result: list[int]) -> None:
    full = (1, 3, 4, 5)
    size = int(np.prod([full[a] for a in axes]))
    weights = matrix(size, int(np.prod(result)))
    (found,), feeds = computed({"x": full}, lambda b, x: b.unary("Neg", product_along(b, x, axes, weights, result)))
    rest = [a for a in range(4) if a not in axes]
    wanted = feeds["x"].transpose(*rest, *axes).reshape(-1, size) @ weights
    wanted = wanted.reshape(*(full[a] for a in rest), *result).transpose(np.argsort([*rest, *axes]))
    np.testing.assert_allclose(found, -wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("first", "turns"), [(1, 0), (12, 0), (3, 1), (4, 1)])
def test_blocks_are_moved_only_where_there_are_two(first: int, turns: int) -> None:
    def write(b: Any, x: Any) -> Any:
        return b.unary("Neg", moved(b, x, first, [1, 12 // first, first]))

    (found,), feeds = computed({"x": (1, 12)}, write)
    np.testing.assert_array_equal(found, -feeds["x"].reshape(1, first, 12 // first).transpose(0, 2, 1))
    model, _ = made({"x": (1, 12)}, write)
    assert sum(n.op_type == "Transpose" for n in model.graph) == turns and AXIS_LIMIT > 12
