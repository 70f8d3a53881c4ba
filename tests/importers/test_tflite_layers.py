"""Layers of TFLite against sums that are written out, in TFLite's own layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tflite_writer import LiteWriter

from n6convert.importers.tflite_builder import Unknown
from n6convert.importers.tflite_onnx import tflite_model
from n6convert.runtime.session import run_model

Computed = Callable[..., np.ndarray]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((1, 9, 11, 4)).astype(np.float32)


def _random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def _padded(size: int, out: int, stride: int, span: int, same: bool) -> tuple[int, int]:
    total = max((out - 1) * stride + span - size, 0) if same else 0
    return total // 2, total - total // 2


def _windows(x: np.ndarray, out: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int],
             dilations: tuple[int, int], same: bool, fill: float = 0.0) -> np.ndarray:  # fmt: skip
    """[oh, ow, kh, kw, C]: what each output sees."""
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = [_padded(x.shape[i + 1], out[i], strides[i], spans[i], same) for i in (0, 1)]
    wide = np.pad(x[0], (*pads, (0, 0)), constant_values=fill)
    found = np.empty((*out, *kernel, x.shape[3]), np.float64)
    for i, j in np.ndindex(*out):
        rows = slice(i * strides[0], i * strides[0] + spans[0], dilations[0])
        columns = slice(j * strides[1], j * strides[1] + spans[1], dilations[1])
        found[i, j] = wide[rows, columns]
    return found


def _outputs(
    same: bool, kernel: tuple[int, int], strides: tuple[int, int], dilations: tuple[int, int]
) -> tuple[int, int]:
    sizes = []
    for n, k, s, d in zip(X.shape[1:3], kernel, strides, dilations, strict=True):
        sizes.append(-(-n // s) if same else (n - (k - 1) * d - 1) // s + 1)
    return sizes[0], sizes[1]


_FORMS = [((3, 3), (1, 1), (1, 1)), ((3, 3), (2, 2), (1, 1)), ((2, 5), (2, 1), (1, 1)), ((3, 2), (1, 1), (2, 3)),
          ((1, 1), (3, 2), (1, 1))]  # fmt: skip


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("depthwise", [False, True])
def test_convolutions(depthwise: bool, form: tuple[tuple[int, int], ...], same: bool, computed: Computed) -> None:
    kernel, strides, dilations = form
    out = _outputs(same, *form)
    channels = 8 if depthwise else 5
    w = _random(1, *kernel, 8) if depthwise else _random(5, *kernel, 4)
    bias = _random(channels)
    seen = _windows(X, out, kernel, strides, dilations, same)
    if depthwise:  # a multiplier of two: outputs 2c and 2c + 1 see channel c
        wanted = np.einsum("hwklc,klc->hwc", seen.repeat(2, axis=4), w[0].astype(np.float64)) + bias
    else:
        wanted = np.einsum("hwklc,oklc->hwo", seen, w.astype(np.float64)) + bias
    at = 5 if depthwise else 4
    options = {0: ("i8", 0 if same else 1), 1: ("i32", strides[1]), 2: ("i32", strides[0]), at: ("i32", dilations[1]),
               at + 1: ("i32", dilations[0])}  # fmt: skip
    kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
    found = computed(kind, [X], (1, *out, channels), [w, bias], options)
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("kind", ["MAX_POOL_2D", "AVERAGE_POOL_2D"])
def test_pools(kind: str, same: bool, computed: Computed) -> None:
    """A mean is of the values inside the map alone."""
    kernel, strides = (3, 2), (2, 3)
    out = _outputs(same, kernel, strides, (1, 1))
    seen = _windows(X, out, kernel, strides, (1, 1), same, np.nan)
    wanted = np.nanmax(seen, (2, 3)) if kind == "MAX_POOL_2D" else np.nanmean(seen, (2, 3))
    options = {0: ("i8", 0 if same else 1), 1: ("i32", strides[1]), 2: ("i32", strides[0]), 3: ("i32", kernel[1]),
               4: ("i32", kernel[0])}  # fmt: skip
    np.testing.assert_allclose(computed(kind, [X], (1, *out, 4), options=options)[0], wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (2, 3), (3, 1)])
def test_transposed_convolutions_spread_each_value(kernel: int, stride: int, same: bool, computed: Computed) -> None:
    x, w = X[:, :4, :5], _random(3, kernel, kernel, 4)
    full = np.zeros((3 * stride + kernel, 4 * stride + kernel, 3))
    for i, j in np.ndindex(4, 5):
        part = np.einsum("c,oklc->klo", x[0, i, j].astype(np.float64), w.astype(np.float64))
        full[i * stride : i * stride + kernel, j * stride : j * stride + kernel] += part
    out = tuple(n * stride if same else (n - 1) * stride + max(kernel, stride) for n in (4, 5))
    cut = [max((n - 1) * stride + kernel - o, 0) // 2 if same else 0 for n, o in zip((4, 5), out, strict=True)]
    wanted = np.zeros((*out, 3))
    part = full[cut[0] : cut[0] + out[0], cut[1] : cut[1] + out[1]]
    wanted[: part.shape[0], : part.shape[1]] = part
    options = {0: ("i8", 0 if same else 1), 1: ("i32", stride), 2: ("i32", stride)}
    constants = [np.array([1, *out, 3], np.int32), w]
    found = computed("TRANSPOSE_CONV", [x], (1, *out, 3), constants, options, order=[1, 2, 0])
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-4)
    bias = _random(3)
    custom = np.array([1 if same else 2, stride, stride], "<i4").tobytes()
    found = computed("Convolution2DTransposeBias", [x], (1, *out, 3), [w, bias], custom)
    np.testing.assert_allclose(found[0], wanted + bias, rtol=1e-4, atol=1e-4)


def test_options_of_another_form_are_not_guessed(computed: Computed) -> None:
    with pytest.raises(Unknown, match="another size"):
        computed("Convolution2DTransposeBias", [X], (1, 4, 5, 3), [_random(3, 2, 2, 4), _random(3)], b"\x01\0\0\0")


@pytest.mark.parametrize(("shape", "out"), [((3, 20), (3, 7)), ((1, 3, 4, 5), (3, 7)), ((2, 3, 20), (2, 3, 7))])
def test_products_with_weights(shape: tuple[int, ...], out: tuple[int, ...], computed: Computed) -> None:
    x, w, bias = _random(*shape), _random(7, 20), _random(7)
    wanted = np.maximum(x.reshape(-1, 20) @ w.T + bias, 0).reshape(out)
    found = computed("FULLY_CONNECTED", [x], out, [w, bias], {0: ("i8", 1)})
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("turned", [(False, False), (True, False), (False, True), (True, True)])
def test_products_of_activations(turned: tuple[bool, bool], computed: Computed) -> None:
    a, b = _random(2, 3, 4), _random(2, 4, 5)
    given = [x.transpose(0, 2, 1) if t else x for x, t in zip((a, b), turned, strict=True)]
    options = {0: ("bool", turned[0]), 1: ("bool", turned[1])}
    found = computed("BATCH_MATMUL", [np.ascontiguousarray(x) for x in given], (2, 3, 5), options=options)
    np.testing.assert_allclose(found, a @ b, rtol=1e-4, atol=1e-5)


def _nearest(size: int, new: int, corners: bool, centers: bool) -> list[int]:
    """TFLite's own rule, in exact fractions."""
    from fractions import Fraction

    scale = Fraction(size - 1, new - 1) if corners and new > 1 else Fraction(size, new)
    found = []
    for i in range(new):
        place = (Fraction(i) + (Fraction(1, 2) if centers else 0)) * scale
        found.append(min(int(place + Fraction(1, 2)) if corners else int(place), size - 1))
    return found


@pytest.mark.parametrize("new", [(18, 22), (18, 33), (5, 6), (10, 12)])
@pytest.mark.parametrize(("corners", "centers"), [(False, False), (False, True), (True, False)])
def test_nearest_neighbors(corners: bool, centers: bool, new: tuple[int, int], computed: Computed) -> None:
    rows, columns = (_nearest(n, m, corners, centers) for n, m in zip(X.shape[1:3], new, strict=True))
    wanted = X[:, rows][:, :, columns]
    options = {0: ("bool", corners), 1: ("bool", centers)}
    found = computed("RESIZE_NEAREST_NEIGHBOR", [X], wanted.shape, [np.array(new, np.int32)], options)
    assert np.array_equal(found, wanted)


@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_softmax_is_over_the_channels(beta: float, computed: Computed) -> None:
    powers = np.exp(beta * X.astype(np.float64))
    wanted = powers / powers.sum(-1, keepdims=True)
    np.testing.assert_allclose(
        computed("SOFTMAX", [X], X.shape, options={0: ("f32", beta)}), wanted, rtol=1e-4, atol=1e-6
    )


def test_length_is_taken_over_the_channels(computed: Computed) -> None:
    wanted = X / np.sqrt((X.astype(np.float64) ** 2).sum(-1, keepdims=True))
    np.testing.assert_allclose(computed("L2_NORMALIZATION", [X], X.shape), wanted, rtol=1e-5)


def test_blocks_of_pixels_and_channels(computed: Computed) -> None:
    """The channels of a block lie behind each other, pixel by pixel."""
    x = _random(1, 4, 6, 3)
    deep = x.reshape(1, 2, 2, 3, 2, 3).transpose(0, 1, 3, 2, 4, 5).reshape(1, 2, 3, 12)
    assert np.array_equal(computed("SPACE_TO_DEPTH", [x], deep.shape, options={0: ("i32", 2)}), deep)
    assert np.array_equal(computed("DEPTH_TO_SPACE", [deep], x.shape, options={0: ("i32", 2)}), x)


# files as a whole ----------------------------------------------------------------------------------------------------


def test_int8_files_become_float_ones_of_the_same_numbers(tmp_path: Path) -> None:
    """Weights by channel, a bias in 32 bits, an input of bytes on its grid."""
    w, scales = RNG.integers(-127, 128, (5, 1, 1, 4), np.int8), RNG.uniform(0.01, 0.1, 5)
    bias = RNG.integers(-1000, 1000, 5, np.int32)
    lite = LiteWriter()
    x = lite.tensor("x", (1, 9, 11, 4), "int8", scales=[0.05], zeros=[-7])
    y = lite.tensor("y", (1, 9, 11, 5), "int8", scales=[0.1], zeros=[3])
    weights = lite.constant("w", w, scales=scales, axis=0)
    biases = lite.constant("b", bias, scales=0.05 * scales)
    lite.op("CONV_2D", [x, weights, biases], [y], {1: ("i32", 1), 2: ("i32", 1)})
    lite.inputs, lite.outputs = [x], [y]
    codes = RNG.integers(-128, 128, (1, 9, 11, 4), np.int8)
    found = run_model(tflite_model(lite.write(tmp_path / "a.tflite")), {"x": codes})["y"]
    real = (codes.astype(float) + 7) * 0.05
    wanted = np.einsum("nhwc,oc->nhwo", real, w[:, 0, 0] * scales[:, None]) + bias * 0.05 * scales
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [("SVDF", {}, "operators that are not read"), ("FULLY_CONNECTED", {1: ("i8", 1)}, "shuffled weights"),
     ("FULLY_CONNECTED", {0: ("i8", 4)}, "fused activation")],
)  # fmt: skip
def test_what_is_not_read_is_named(
    kind: str, options: dict[int, tuple[str, int]], words: str, computed: Computed
) -> None:
    with pytest.raises(Unknown, match=words):
        computed(kind, [_random(3, 20)], (3, 7), [_random(7, 20)], options)
