"""Borders of the rules of convolutions, products and pools."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from n6convert.npu.ir import Tensor, Where
from n6convert.npu.rules import Rule
from n6convert.npu.rules.limits import VERSIONS

Placed = Callable[..., Rule]
MAP = (1, 16, 20, 20)


def _primes(limit: int) -> set[int]:
    """By the sieve."""
    numbers = set(range(2, limit + 1))
    for n in range(2, limit + 1):
        if n in numbers:
            numbers -= set(range(2 * n, limit + 1, n))
    return numbers


def test_prime_numbers_of_channels_above_a_unit(placed: Placed) -> None:
    """2 to 300 channels: the primes above the 128 that a unit takes, and no other, leave the NPU."""
    off = set()
    for channels in range(2, 301):
        rule = placed("Conv", [(1, channels, 8, 8)], (1, 4, 8, 8), [(4, channels, 1, 1)])
        if rule.where is Where.SW:
            assert rule.name == "conv-of-prime-channels" and not rule.float
            off.add(channels)
    assert off == {p for p in _primes(300) if p > 128}


@pytest.mark.parametrize("kernel", [(3, 3), (1, 3)])
def test_larger_kernels_take_any_number_of_channels(kernel: tuple[int, int], placed: Placed) -> None:
    assert placed("Conv", [(1, 257, 8, 8)], (1, 4, 8, 8), [(4, 257, *kernel)]).where is Where.HW


@pytest.mark.parametrize(
    ("kernel", "stride", "where"),
    [
        (5, 3, Where.SW), (6, 3, Where.HW), (3, 3, Where.HW), (2, 3, Where.HW), (5, 4, Where.HW), (5, 2, Where.HW),
        (7, 5, Where.SW), (10, 5, Where.HW), (7, 6, Where.SW),
    ],
)  # fmt: skip
def test_horizontal_strides(kernel: int, stride: int, where: Where, placed: Placed) -> None:
    """1, 2 and 4 are native; others where they divide the kernel or exceed it."""
    rule = placed("Conv", [MAP], MAP, [(16, 16, 3, kernel)], kernel_shape=[3, kernel], strides=[1, stride])
    assert rule.where is where


@pytest.mark.parametrize("stride", range(1, 9))
def test_vertical_strides_do_not_matter(stride: int, placed: Placed) -> None:
    rule = placed("Conv", [MAP], MAP, [(16, 16, 5, 5)], kernel_shape=[5, 5], strides=[stride, 1])
    assert rule.where is Where.HW


@pytest.mark.parametrize(
    ("shape", "where"), [((1, 1, 1, 1), Where.SW), ((1, 2, 1, 1), Where.HW), ((1, 1, 1, 2), Where.HW)]
)
def test_a_convolution_of_a_single_value(shape: tuple[int, ...], where: Where, placed: Placed) -> None:
    rule = placed("Conv", [shape], (1, 4, *shape[2:]), [(4, shape[1], 1, 1)])
    assert rule.where is where


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose", "Gemm", "MatMul"])
def test_four_bit_weights_by_version(op: str, version: tuple[int, int], placed: Placed) -> None:
    shape = (4, 16, 3, 3) if "Conv" in op else (16, 4)
    weights = Tensor("c0", shape, "int4", 0.1, 0, constant=True)
    data = MAP if "Conv" in op else (1, 16)
    rule = placed(op, [data], (1, 4, *data[2:]), [shape], version=version, change={"c0": weights})
    assert (rule.where is Where.HW) is (version >= (3, 0))
    assert rule.float is (version < (3, 0))


@pytest.mark.parametrize(
    ("op", "name", "as_float"),
    [("Conv", "conv-weights-from-activation", False), ("MatMul", "matmul-of-activations", False),
     ("Gemm", "gemm-with-activation-parameters", True)],
)  # fmt: skip
def test_weights_that_are_computed(op: str, name: str, as_float: bool, placed: Placed) -> None:
    shapes = [MAP, (16, 16, 1, 1)] if op == "Conv" else [(4, 8), (8, 4)]
    rule = placed(op, shapes, MAP if op == "Conv" else (4, 4))
    assert (rule.name, rule.where, rule.float) == (name, Where.SW, as_float)
    assert rule.remedy


def test_a_bias_that_is_computed_makes_a_gemm_float(placed: Placed) -> None:
    """The front end takes a third input only as a constant."""
    rule = placed("Gemm", [(1, 8), (1, 4)], (1, 4), [(8, 4)], order=["x0", "c0", "x1"])
    assert rule.name == "gemm-with-activation-parameters"


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("strides", "where"), [([15, 15], Where.HW), ([16, 1], Where.SW), ([1, 16], Where.SW)])
def test_strides_of_pools(op: str, strides: list[int], where: Where, placed: Placed) -> None:
    assert placed(op, [(1, 16, 64, 64)], (1, 16, 4, 4), kernel_shape=[3, 3], strides=strides).where is where


def test_a_single_attribute_is_horizontal(placed: Placed) -> None:
    for strides, where in (([3, 1], Where.HW), ([1, 3], Where.SW), ([3], Where.SW)):
        kernel = [5] * len(strides)
        rule = placed("Conv", [MAP], MAP, [(16, 16, *kernel)], kernel_shape=kernel, strides=strides)
        assert rule.where is where


def test_one_dimension_is_a_row(placed: Placed) -> None:
    """The only stride of a 1-D convolution is the horizontal one."""
    found = [
        placed("Conv", [(1, 16, 50)], (1, 16, 50), [(16, 16, 5)], kernel_shape=[5], strides=[s]).where
        for s in (1, 2, 3, 4)
    ]
    assert found == [Where.HW, Where.HW, Where.SW, Where.HW]
