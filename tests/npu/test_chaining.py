"""Which convolutions start in the epoch of what they read: blocks of channels on both sides."""

from __future__ import annotations

import pytest

from n6convert.npu.chaining import can_chain, pooled_first, split_scale
from n6convert.npu.ir import ConvGeometry, Op, Tensor, Units

V = (2, 1)


def _tensors(channels: int, zero: int = -128) -> dict[str, Tensor]:
    return {name: Tensor(name, (1, channels, 16, 16), "int8", 0.1, zero) for name in "xyz"}


def _conv(name: str, source: str, result: str, channels: int, out: int, kernel: int = 1, depthwise: bool = False,
          stride: int = 1, units: int = 1) -> Op:  # fmt: skip
    geometry = ConvGeometry(
        out, channels, (kernel, kernel), (stride, stride), groups=channels if depthwise else 1, in_hw=(16, 16),
        out_hw=(16 // stride, 16 // stride),
    )  # fmt: skip
    return Op(name, "Conv", (source,), (result,), conv=geometry, units=Units(conv=units, arith=2))


def _depthwise(channels: int, **more: int) -> Op:
    return _conv("d", "y", "z", channels, channels, 3, True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("out", "chained"), [(8, True), (32, True), (72, True), (12, False), (24, True), (4, False)])
def test_a_depthwise_kernel_takes_blocks_of_eight(out: int, chained: bool) -> None:
    """A 3x3 layer writes d(O,8) kernels at a time."""
    before = _conv("c", "x", "y", 3, out, 3)
    assert can_chain(_depthwise(out), before, _tensors(out), V) is chained


@pytest.mark.parametrize(("out", "chained"), [(8, True), (16, False), (24, False), (40, False)])
def test_a_1x1_layer_writes_blocks_of_up_to_24(out: int, chained: bool) -> None:
    """Of 16 channels it writes one block of 16, of 24 one of 24, of 40 blocks of 20."""
    before = _conv("c", "x", "y", 3, out, 1)
    assert can_chain(_depthwise(out), before, _tensors(out), V) is chained


@pytest.mark.parametrize("version", [(3, 0), (4, 0)])
def test_never_from_3_0_on(version: tuple[int, int]) -> None:
    before = _conv("c", "x", "y", 3, 8, 3)
    assert can_chain(_depthwise(8), before, _tensors(8), V)
    assert not can_chain(_depthwise(8), before, _tensors(8), version)


def test_a_stride_or_another_zero_point_breaks_the_chain() -> None:
    before = _conv("c", "x", "y", 3, 8, 3)
    assert not can_chain(_depthwise(8, stride=2), before, _tensors(8), V)
    assert not can_chain(_depthwise(8), before, _tensors(8, zero=5), V)


def test_a_convolution_on_several_units_waits() -> None:
    before = _conv("c", "x", "y", 3, 8, 3)
    assert not can_chain(_depthwise(8, units=2), before, _tensors(8), V)


@pytest.mark.parametrize(("channels", "chained"), [(16, True), (24, True), (32, False)])
def test_sums_are_one_block_up_to_24_channels(channels: int, chained: bool) -> None:
    """r27 16, r56 24; not 32."""
    add = Op("a", "Add", ("x", "x"), ("y",), units=Units(arith=1))
    assert can_chain(_depthwise(channels), add, _tensors(channels), V) is chained


@pytest.mark.parametrize(("kind", "chained"), [("Mul", True), ("Relu", True), ("Clip", True), ("Softmax", False)])
def test_only_elementwise_operators_hand_on_blocks(kind: str, chained: bool) -> None:
    before = Op("e", kind, ("x",), ("y",), units=Units(arith=1))
    assert can_chain(_depthwise(16), before, _tensors(16), V) is chained


@pytest.mark.parametrize(
    ("channels", "behind_scale", "chained"), [(16, False, True), (8, True, True), (16, True, False)]
)
def test_a_1x1_layer_behind_sums_takes_them_whole(channels: int, behind_scale: bool, chained: bool) -> None:
    name = "conv/scale" if behind_scale else "sum"
    before = Op(name, "Add", ("x",), ("y",), units=Units(arith=1))
    after = _conv("p", "y", "z", channels, 32)
    assert can_chain(after, before, _tensors(channels), V) is chained


def test_a_depthwise_kernel_waits_for_the_scaling_before_it() -> None:
    before = Op("conv/scale", "Add", ("x",), ("y",), units=Units(arith=1))
    assert not can_chain(_depthwise(8), before, _tensors(8), V)


@pytest.mark.parametrize("free", [0, 1, 2, 3])
def test_a_scale_is_split_without_losing_a_unit(free: int) -> None:
    tensors = _tensors(8)
    whole = _conv("c", "x", "y", 3, 8, 3)
    first, rest = split_scale(whole, free, tensors)
    assert first.units + rest.units == whole.units and first.units.arith == min(free, 2)
    (between,) = first.outputs
    assert rest.inputs == (between,) and rest.outputs == whole.outputs
    assert tensors[between].dtype == "int16" and tensors[between].shape == tensors["y"].shape
    assert (first.macs, rest.macs, rest.conv) == (whole.macs, 0, None), "multiplications are counted once"
    assert not can_chain(_depthwise(8), rest, tensors, V)


def test_a_pool_is_scaled_in_the_next_epoch() -> None:
    tensors = _tensors(8)
    pool = Op("p", "GlobalAveragePool", ("x",), ("y",), units=Units(pool=1, arith=1))
    first, rest = pooled_first(pool, tensors)
    assert first.units + rest.units == pool.units
    assert first.outputs == rest.inputs and rest.outputs == ("y",) and rest.kind == "Mul"
    assert tensors[first.outputs[0]].dtype == "int16"
