"""Sizes of tensors, geometry of convolutions and counts of epochs, computed a second way."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.npu.ir import ITEM_BYTES, ConvGeometry, Epoch, EpochCounts, Op, Tensor, Units, Where

_SHAPES = st.lists(st.integers(0, 9), max_size=5).map(tuple)


@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
def test_bytes_of_a_tensor_are_those_of_numpy(dtype: str) -> None:
    array = np.zeros((3, 5, 7), getattr(ml_dtypes, dtype) if dtype == "bfloat16" else np.dtype(dtype))
    assert Tensor("x", array.shape, dtype).nbytes == array.nbytes


@settings(max_examples=50)
@given(shape=_SHAPES, dtype=st.sampled_from(["int4", "uint4"]))
def test_two_values_of_four_bits_share_a_byte(shape: tuple[int, ...], dtype: str) -> None:
    tensor = Tensor("x", shape, dtype)
    assert tensor.elements == np.zeros(shape).size
    assert tensor.nbytes == len(range(0, tensor.elements, 2))


def test_a_scalar_is_one_element() -> None:
    assert (Tensor("x", (), "float32").elements, Tensor("x", (), "float32").nbytes) == (1, 4)


@pytest.mark.parametrize(
    ("dtype", "scale", "quantized"),
    [("int8", 0.1, True), ("uint8", 0.1, True), ("int16", 0.1, True), ("uint4", 0.1, True), ("int8", None, False),
     ("int32", 0.1, False), ("float32", 0.1, False)],
)  # fmt: skip
def test_quantized_means_few_bits_and_a_scale(dtype: str, scale: float | None, quantized: bool) -> None:
    """Biases of 32 bits have a scale, too, and are no activations."""
    assert Tensor("x", (1,), dtype, scale, 0).quantized is quantized


def test_multiply_accumulates_by_counting_them() -> None:
    groups, out, each, kernel, hw = 3, 6, 2, (2, 3), (4, 5)
    geometry = ConvGeometry(out, groups * each, kernel, groups=groups, in_hw=(9, 9), out_hw=hw)
    count = sum(1 for _ in np.ndindex(out, *hw, each, *kernel))
    assert geometry.macs == count
    assert geometry.weight_shape == (6, 2, 2, 3)
    assert not geometry.depthwise


@pytest.mark.parametrize(
    ("out", "channels", "groups", "depthwise"),
    [(8, 8, 8, True), (16, 8, 8, False), (8, 8, 4, False), (1, 1, 1, False), (8, 8, 1, False)],
)
def test_depthwise_is_one_kernel_a_channel(out: int, channels: int, groups: int, depthwise: bool) -> None:
    """A multiplier above one and a single channel are no depthwise layers."""
    assert ConvGeometry(out, channels, (3, 3), groups=groups).depthwise is depthwise


_UNITS = st.builds(Units, *(st.integers(0, 4) for _ in range(4)))


@settings(max_examples=60)
@given(a=_UNITS, b=_UNITS, limit=_UNITS)
def test_what_fits_together_fits_alone(a: Units, b: Units, limit: Units) -> None:
    assert a + b == b + a and a + Units() == a
    if (a + b).within(limit):
        assert a.within(limit) and b.within(limit)
    assert a.within(a + b)


@pytest.mark.parametrize("unit", ["conv", "arith", "activ", "pool"])
def test_each_kind_of_unit_is_limited_alone(unit: str) -> None:
    assert not Units(**{unit: 2}).within(Units(1, 1, 1, 1))
    assert Units(**{unit: 1}).within(Units(**{unit: 1}))


def _epoch(number: int, kind: Where, *kinds: str) -> Epoch:
    ops = tuple(Op(k, k, (), (), units=Units(arith=1)) for k in kinds)
    return Epoch(number, kind, ops, (), ())


def test_epochs_without_work_are_not_counted() -> None:
    kinds = [Where.HW, Where.SW, Where.NONE, Where.HW, Where.HYBRID, Where.NONE]
    counts = EpochCounts.of([_epoch(i, kind) for i, kind in enumerate(kinds, 1)])
    assert (counts.total, counts.hw, counts.hybrid, counts.sw) == (4, 2, 1, 1)
    assert counts.offload == 0.5


def test_an_epoch_is_printed_by_its_operators() -> None:
    epoch = _epoch(1, Where.HW, "Conv", "Add", "Relu")
    assert epoch.printed == "Conv+Add+Relu" and epoch.units == Units(arith=3)
