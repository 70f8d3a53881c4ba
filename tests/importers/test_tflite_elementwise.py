"""Element-wise operators and reductions of TFLite against numpy, in both layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

Computed = Callable[..., np.ndarray]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 3, 4, 5)).astype(np.float32) * 3
POSITIVE = np.abs(X) + np.float32(0.1)

_UNARY: dict[str, Callable[[Any], Any]] = {
    "ABS": np.abs, "CEIL": np.ceil, "COS": np.cos, "EXP": np.exp, "FLOOR": np.floor, "LOG": np.log, "NEG": np.negative,
    "ROUND": np.round, "SIGN": np.sign, "SIN": np.sin, "SQRT": np.sqrt, "TANH": np.tanh, "SQUARE": np.square,
    "RELU": lambda x: np.maximum(x, 0), "RELU6": lambda x: np.clip(x, 0, 6),
    "RELU_N1_TO_1": lambda x: np.clip(x, -1, 1),
    "RELU_0_TO_1": lambda x: np.clip(x, 0, 1), "RSQRT": lambda x: 1 / np.sqrt(x),
    "LOGISTIC": lambda x: 1 / (1 + np.exp(-x)),
    "HARD_SWISH": lambda x: x * np.clip(x + 3, 0, 6) / 6, "ELU": lambda x: np.where(x > 0, x, np.expm1(x)),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(_UNARY))
def test_functions(kind: str, computed: Computed) -> None:
    x = POSITIVE if kind in ("LOG", "SQRT", "RSQRT") else X
    found = computed(kind, [x], x.shape)
    np.testing.assert_allclose(found, _UNARY[kind](x), rtol=1e-5, atol=1e-6)


_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide, "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum, "POW": np.power, "SQUARED_DIFFERENCE": lambda a, b: (a - b) ** 2,
    "FLOOR_DIV": np.floor_divide, "FLOOR_MOD": np.mod,
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(_BINARY))
@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (5,), (4, 1), (1, 3, 1, 1), ()])
def test_operands_repeat_as_in_numpy(kind: str, shape: tuple[int, ...], computed: Computed) -> None:
    """Also where one has fewer axes: its last one is the channel in TFLite, not in the graph."""
    other = np.asarray(np.abs(RNG.standard_normal(shape)) + 0.5, np.float32)
    found = computed(kind, [POSITIVE], X.shape, [other])
    np.testing.assert_allclose(found, _BINARY[kind](POSITIVE, other), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["SUB", "DIV", "FLOOR_DIV"])
def test_a_constant_may_come_first(kind: str, computed: Computed) -> None:
    other = np.asarray(np.abs(RNG.standard_normal(5)) + 0.5, np.float32)
    found = computed(kind, [POSITIVE], X.shape, [other], order=[1, 0])
    np.testing.assert_allclose(found, _BINARY[kind](other, POSITIVE), rtol=1e-5, atol=1e-6)


def test_both_may_be_computed_and_repeat(computed: Computed) -> None:
    a, b = X[:, :1], X[0, :, :, :1]
    np.testing.assert_allclose(computed("ADD", [a, b], X.shape), a + b, rtol=1e-6)


@pytest.mark.parametrize(("number", "bounds"), [(0, (-np.inf, np.inf)), (1, (0, np.inf)), (2, (-1, 1)), (3, (0, 6))])
@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "DIV"])
def test_fused_activations(kind: str, number: int, bounds: tuple[float, float], computed: Computed) -> None:
    found = computed(kind, [X, POSITIVE], X.shape, options={0: ("i8", number)})
    np.testing.assert_allclose(found, np.clip(_BINARY[kind](X, POSITIVE), *bounds), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("divisor", [4, -5])
@pytest.mark.parametrize("kind", ["FLOOR_DIV", "FLOOR_MOD"])
def test_integers_are_divided_downwards(kind: str, divisor: int, computed: Computed) -> None:
    """-7 // 4 is -2 and its rest 1; the rest has the sign of the divisor."""
    x = np.array([[-7, -4, -1, 0, 1, 4, 7, 2**31 - 1]], np.int32)
    found = computed(kind, [x], x.shape, [np.array(divisor, np.int32)], dtype="int32")
    assert found.tolist() == _BINARY[kind](x, np.int32(divisor)).tolist()


@pytest.mark.parametrize(
    ("kind", "compare"),
    [("EQUAL", np.equal), ("NOT_EQUAL", np.not_equal), ("LESS", np.less), ("LESS_EQUAL", np.less_equal),
     ("GREATER", np.greater), ("GREATER_EQUAL", np.greater_equal)],
)  # fmt: skip
def test_comparisons(kind: str, compare: Callable[[Any, Any], Any], computed: Computed) -> None:
    x, y = np.round(X), np.round(X[..., ::-1])
    assert np.array_equal(computed(kind, [x, y], x.shape, dtype="bool"), compare(x, y))


def test_leaky(computed: Computed) -> None:
    found = computed("LEAKY_RELU", [X], X.shape, options={0: ("f32", 0.3)})
    np.testing.assert_allclose(found, np.where(X > 0, X, np.float32(0.3) * X), rtol=1e-6)


def test_slopes_by_channel(computed: Computed) -> None:
    slope = np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32)
    found = computed("PRELU", [X], X.shape, [slope.reshape(1, 1, 5)])
    np.testing.assert_allclose(found, np.where(X > 0, X, X * slope), rtol=1e-6)


_REDUCE = {"MEAN": np.mean, "SUM": np.sum, "REDUCE_MAX": np.max, "REDUCE_MIN": np.min, "REDUCE_PROD": np.prod}


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("axes", [[3], [1, 2], [-2], [0, 3], [0, 1, 2, 3]])
@pytest.mark.parametrize("kind", sorted(_REDUCE))
def test_reductions(kind: str, axes: list[int], keep: bool, computed: Computed) -> None:
    wanted = _REDUCE[kind](X.astype(np.float64), tuple(axes), keepdims=keep)
    found = computed(kind, [X], wanted.shape, [np.array(axes, np.int32)], {0: ("bool", keep)})
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize(("kind", "pick"), [("ARG_MAX", np.argmax), ("ARG_MIN", np.argmin)])
@pytest.mark.parametrize("axis", [1, 3])
def test_places_of_extremes(kind: str, pick: Callable[..., Any], axis: int, dtype: str, computed: Computed) -> None:
    wanted = pick(X, axis)
    found = computed(kind, [X], wanted.shape, [np.array(axis, np.int32)], dtype=dtype)
    assert found.dtype == np.dtype(dtype) and np.array_equal(found, wanted)


def test_choices(computed: Computed) -> None:
    condition = X > 0
    found = computed("SELECT_V2", [condition, X], X.shape, [np.array([1, 2, 3, 4, 5], np.float32)])
    np.testing.assert_array_equal(found, np.where(condition, X, np.array([1, 2, 3, 4, 5], np.float32)))
